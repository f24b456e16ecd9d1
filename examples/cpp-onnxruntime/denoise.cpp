// Run the models in onnxruntime's C++ API on their test tensors: denoise WEIGHTS
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Array {
    std::vector<int64_t> shape;
    std::vector<float> values;
};

// Read an array of the manifest, from the start of its raw float32 values.
Array load(const fs::path& weights, const Json& entry) {
    Array array{entry["shape"].get<std::vector<int64_t>>(), {}};
    size_t count = 1;
    for (const int64_t side : array.shape) count *= static_cast<size_t>(side);
    array.values.resize(count);
    std::ifstream file(weights / entry["raw"].get<std::string>(), std::ios::binary);
    file.seekg(entry["raw_offset"].get<std::streamoff>());
    file.read(reinterpret_cast<char*>(array.values.data()), static_cast<std::streamsize>(count * sizeof(float)));
    if (!file) throw std::runtime_error("cannot read " + entry["raw"].get<std::string>());
    return array;
}

// Infinite if shapes differ or a value is not finite.
float largest_difference(const Ort::Value& found, const Array& expected) {
    if (found.GetTensorTypeAndShapeInfo().GetShape() != expected.shape) return INFINITY;
    float largest = 0;
    for (size_t i = 0; i < expected.values.size(); ++i) {
        const float difference = std::abs(found.GetTensorData<float>()[i] - expected.values[i]);
        if (!std::isfinite(difference)) return INFINITY;
        largest = std::max(largest, difference);
    }
    return largest;
}

std::vector<Ort::Value> run(Ort::Session& session, const fs::path& weights, const Json& inputs) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::vector<Array> arrays;  // own the values that the tensors point to
    std::vector<std::string> keys;
    for (const auto& [key, entry] : inputs.items()) {
        keys.push_back(key);
        arrays.push_back(load(weights, entry));
    }
    std::vector<const char*> names;
    std::vector<Ort::Value> tensors;
    for (size_t i = 0; i < keys.size(); ++i) {
        auto& [shape, values] = arrays[i];
        names.push_back(keys[i].c_str());
        tensors.push_back(Ort::Value::CreateTensor(memory, values.data(), values.size(), shape.data(), shape.size()));
    }
    const char* output = "denoised";
    return session.Run(Ort::RunOptions{}, names.data(), tensors.data(), tensors.size(), &output, 1);
}

// Options that fix every free side of a model's inputs to its size in these arrays.
Ort::SessionOptions fixed_shapes(const Ort::Session& session, const Json& inputs) {
    Ort::SessionOptions options;
    Ort::AllocatorWithDefaultOptions allocator;
    for (size_t i = 0; i < session.GetInputCount(); ++i) {
        const auto type = session.GetInputTypeInfo(i);
        const auto info = type.GetTensorTypeAndShapeInfo();
        std::vector<const char*> names(info.GetDimensionsCount());
        info.GetSymbolicDimensions(names.data(), names.size());  // empty if a side is fixed
        const auto& shape = inputs[session.GetInputNameAllocated(i, allocator).get()]["shape"];
        for (size_t axis = 0; axis < names.size(); ++axis)
            if (*names[axis])
                Ort::ThrowOnError(Ort::GetApi().AddFreeDimensionOverrideByName(options, names[axis], shape[axis]));
    }
    return options;
}

// Difference of the ONNX noise estimate from the level in the manifest, as a fraction of it.
double estimate_difference(Ort::Env& environment, const fs::path& weights, const Json& file, const Json& image) {
    const fs::path path = weights / file["file"].get<std::string>();
    Ort::Session session(environment, path.c_str(), Ort::SessionOptions{});
    auto [sides, values] = load(weights, image["noisy"]);
    const std::vector<int64_t> shape{1, 1, sides[0], sides[1]};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto noisy = Ort::Value::CreateTensor(memory, values.data(), values.size(), shape.data(), shape.size());
    const char *input = "noisy", *output = "noise_level";
    const auto found = session.Run(Ort::RunOptions{}, &input, &noisy, 1, &output, 1);
    return std::abs(found.front().GetTensorData<float>()[0] / image["noise_level"].get<double>() - 1);
}

int main(int argc, char** argv) try {
    const fs::path weights = argc > 1 ? argv[1] : "../../weights";
    const Json manifest = Json::parse(std::ifstream(weights / "manifest.json"));
    Ort::Env environment;
    bool failed = false;
    for (const auto& [name, model] : manifest["models"].items()) {
        for (const auto& [precision, file] : model["files"].items()) {
            const fs::path path = weights / file["file"].get<std::string>();
            const auto expected = load(weights, model["test"]["expected"][precision]["denoised"]);
            Ort::Session free(environment, path.c_str(), Ort::SessionOptions{});
            // fixed shapes, as in programs that know their image size
            Ort::Session fixed(environment, path.c_str(), fixed_shapes(free, model["test"]["inputs"]));
            for (Ort::Session* session : {&free, &fixed}) {
                const auto found = run(*session, weights, model["test"]["inputs"]);
                const float difference = largest_difference(found.front(), expected);
                const double tolerance = file["tolerance"];
                std::printf("%s %s%s: largest difference %.1e, at most %g\n", name.c_str(), precision.c_str(),
                            session == &fixed ? " fixed" : "", difference, tolerance);
                failed |= !(difference <= tolerance);
            }
        }
    }
    const Json& file = manifest["noise_estimate"];
    const double difference = estimate_difference(environment, weights, file, manifest["models"]["window"]["test"]["image"]);
    const double tolerance = file["tolerance"];
    std::printf("noise_level fp32: largest difference %.1e, at most %g\n", difference, tolerance);
    failed |= !(difference <= tolerance);
    return failed;
} catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
}
