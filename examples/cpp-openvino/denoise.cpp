// Run the models in OpenVINO's C++ API on their test tensors: denoise WEIGHTS
#include <openvino/openvino.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Read an array of the manifest, from the start of its raw float32 values.
ov::Tensor load(const fs::path& weights, const Json& array) {
    ov::Tensor tensor(ov::element::f32, array["shape"].get<ov::Shape>());
    std::ifstream file(weights / array["raw"].get<std::string>(), std::ios::binary);
    file.seekg(array["raw_offset"].get<std::streamoff>());
    file.read(reinterpret_cast<char*>(tensor.data<float>()), static_cast<std::streamsize>(tensor.get_byte_size()));
    if (!file) throw std::runtime_error("cannot read " + array["raw"].get<std::string>());
    return tensor;
}

// Infinite if shapes differ or a value is not finite.
float largest_difference(const ov::Tensor& found, const ov::Tensor& expected) {
    if (found.get_shape() != expected.get_shape()) return INFINITY;
    float largest = 0;
    for (size_t i = 0; i < expected.get_size(); ++i) {
        const float difference = std::abs(found.data<float>()[i] - expected.data<float>()[i]);
        if (!std::isfinite(difference)) return INFINITY;
        largest = std::max(largest, difference);
    }
    return largest;
}

std::map<std::string, ov::PartialShape> shapes(const Json& inputs) {
    std::map<std::string, ov::PartialShape> found;
    for (const auto& [input, array] : inputs.items()) found[input] = array["shape"].get<ov::Shape>();
    return found;
}

// Difference of the ONNX noise estimate from the level in the manifest, as a fraction of it.
double estimate_difference(ov::Core& core, const fs::path& weights, const Json& file, const Json& image) {
    auto noisy = load(weights, image["noisy"]);
    const auto sides = noisy.get_shape();
    noisy.set_shape({1, 1, sides[0], sides[1]});
    const auto network = core.read_model((weights / file["file"].get<std::string>()).string());
    auto compiled = core.compile_model(network, "CPU", ov::hint::inference_precision(ov::element::f32));
    auto request = compiled.create_infer_request();
    request.set_tensor("noisy", noisy);
    request.infer();
    return std::abs(request.get_tensor("noise_level").data<float>()[0] / image["noise_level"].get<double>() - 1);
}

int main(int argc, char** argv) try {
    const fs::path weights = argc > 1 ? argv[1] : "../../weights";
    const Json manifest = Json::parse(std::ifstream(weights / "manifest.json"));
    ov::Core core;
    bool failed = false;
    for (const auto& [name, model] : manifest["models"].items()) {
        for (const auto& [precision, file] : model["files"].items()) {
            const auto expected = load(weights, model["test"]["expected"][precision]["denoised"]);
            // free shapes, and fixed shapes as in programs that know their image size
            for (const bool fixed : {false, true}) {
                const auto network = core.read_model((weights / file["file"].get<std::string>()).string());
                if (fixed) network->reshape(shapes(model["test"]["inputs"]));
                // without the hint, CPUs with bfloat16 compute in it, and differ by one or two gray levels of 255
                auto compiled = core.compile_model(network, "CPU", ov::hint::inference_precision(ov::element::f32));
                auto request = compiled.create_infer_request();
                for (const auto& [input, array] : model["test"]["inputs"].items())
                    request.set_tensor(input, load(weights, array));
                request.infer();
                const float difference = largest_difference(request.get_tensor("denoised"), expected);
                const double tolerance = file["tolerance"];
                std::printf("%s %s%s: largest difference %.1e, at most %g\n", name.c_str(), precision.c_str(),
                            fixed ? " fixed" : "", difference, tolerance);
                failed |= !(difference <= tolerance);
            }
        }
    }
    const Json& file = manifest["noise_estimate"];
    const double difference = estimate_difference(core, weights, file, manifest["models"]["window"]["test"]["image"]);
    const double tolerance = file["tolerance"];
    std::printf("noise_level fp32: largest difference %.1e, at most %g\n", difference, tolerance);
    failed |= !(difference <= tolerance);
    return failed;
} catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
}
