import onnxruntime as ort, json, numpy as np, sys, collections, os


def prof(path, show=True, ends=True):
    o = ort.SessionOptions()
    o.intra_op_num_threads = 1
    o.enable_profiling = True
    o.profile_file_prefix = "/tmp/prof"
    s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    x = {"noisy": np.random.rand(1, 1, 1024, 1024).astype(np.float32), "noise_level": np.array([0.06], np.float32)}
    for _ in range(6):
        s.run(None, x)
    f = s.end_profiling()
    ev = [e for e in json.load(open(f)) if e["cat"] == "Node" and e["name"].endswith("kernel_time")]
    os.remove(f)
    n = len(ev) // 6
    tot = 0
    glue = 0
    for i in range(n):
        d = np.median([ev[j * n + i]["dur"] for j in range(1, 6)]) / 1048.6
        e = ev[i]
        tot += d
        op = e["args"]["op_name"]
        if op not in ("QLinearConv", "QLinearAdd"):
            glue += d
            if show and d > 0.02:
                print(
                    f"{d:6.2f}",
                    op,
                    [list(t.values())[0] for t in e["args"]["input_type_shape"]][:4],
                    e["args"]["output_type_shape"][0],
                )
    print(path, "total %.1f glue %.1f" % (tot, glue))


if __name__ == "__main__":
    prof(sys.argv[1])
