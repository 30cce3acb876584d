"""How a server is started and how it ends: arguments, its image, where it writes, memory, probes and exit codes."""

from watch.complaints import Topic
from watch.containers import Whose
from watch.table.row import Row

_LOG = "`kubectl -n {namespace} logs {pod} -c {container} --previous`"

ROWS = (
    Row(
        "unknown-flag",
        r"error: unrecognized arguments: (?P<flag>[^\n{]{0,119}[^\s{])|error: unexpected argument '(?P<second>[^']+)'"
        r"|error: invalid argument: (?P<third>\S+)|error: ambiguous option: (?P<fourth>\S+)",
        "the server does not know the argument {flag}{second}{third}{fourth}: take it out of `models.NAME.args`, or "
        "correct it (one argument a line, as `--name=value`); one of a newer server wants a newer `{server}`, one "
        "that is gone an older",
        "https://github.com/vllm-project/vllm/issues/42399",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "flag-value",
        r"(?P<words>(?<=error: )(?:argument -[\w/-]+: .{1,140}|the following arguments are required: .{1,80})"
        r"|invalid value '[^']*' for '-[^']+'|[Ii]nvalid (?:tool call|reasoning) parser: \S+"
        r"|(?:Tool|Reasoning) parser '[^']+' not found|--[\w-]+ requires --[\w-]+"
        r"|(?<=vllm serve: error: )(?!argument|unrecognized|the following).{1,160}|ArgumentValidation\(.{1,140}\))",
        "the server refuses an argument of `models.NAME.args`: {words}; correct it, or take it out",
        "https://github.com/vllm-project/vllm/issues/39687",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "flag-out-of-range",
        r"validation errors? for \w+(?:Config|Args)\n(?:\(.{1,40}\) )?\s*(?P<field>[\w.]+)\n(?:\(.{1,40}\) )?\s*"
        r"Input should be (?P<wanted>.{1,80}?)(?: \[type=|$)",
        "the value of {field} (as an argument in `models.NAME.args` --{field}, with dashes) should be {wanted}; "
        "correct it, or take it out",
        "vLLM v0.23.0, vllm/config",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "max-model-len-too-long",
        r"(?:[Vv]alue ?[Ee]rror\W.{0,60}|^)User-specified max_model_len \((?P<asked>\d+)\) is greater than the derived "
        r"max_model_len \(\w+=(?P<length>\d+)"
        r"|context_length \(\d+\) is greater than the derived context_length \((?P<other>\d+)\).{0,300}"
        r"To allow overriding",
        "the model is made for {length}{other} tokens at most: write `--max-model-len={length}{other}` in "
        "`models.NAME.args`, or leave it out (SGLang: `--context-length`)",
        "https://github.com/vllm-project/vllm/issues/3676",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "batched-tokens",
        r"max_num_batched_tokens \(\d+\) is smaller than max_model_len \((?P<length>\d+)\)"
        r"|max_num_batched_tokens \(\d+\) must be greater than or equal to max_num_seqs \((?P<other>\d+)\)"
        r"|max_tokens_per_mm_item \((?P<third>\d+)\) is larger than max_num_batched_tokens",
        "a batch is smaller than one sequence or picture: write `--max-num-batched-tokens={length}{other}{third}` in "
        "`models.NAME.args`, or a lower `--max-model-len`",
        "vLLM v0.23.0, vllm/config/scheduler.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "attention-backend",
        r"No valid attention backend found|Invalid attention backend for"
        r"|Selected backend \S+ is not valid for this configuration"
        r"|FlashAttention2 has been toggled on, but it cannot be used"
        r"|No operator found for `memory_efficient_attention",
        "the way to compute attention that is asked for does not do for this model on this GPU: take "
        "`--attention-backend` and `--kv-cache-dtype` out of `models.NAME.args`, and VLLM_ATTENTION_BACKEND out of "
        "`models.NAME.env`: the server chooses by itself",
        "vLLM v0.23.0, vllm/platforms/cuda.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "deep-gemm",
        r"DeepGEMM backend is not available or outdated|NVCC version should be"
        r"|Assertion error \([^)\n]{0,300}/jit/\w{1,80}\.hpp"
        r"|in _find_cuda_home\n(?:.{0,200}\n){0,4}?.{0,200}AssertionError",
        "the server's image cannot make DeepGEMM's kernels: write `models.NAME.env.VLLM_USE_DEEP_GEMM: \"0\"`, or take "
        "another `{server}`",
        "https://github.com/vllm-project/vllm/issues/41849",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "jit-compiler",
        r"Could not find nvcc|nvcc: not found|No such file or directory: '[^']*nvcc'"
        r"|CUDA_HOME environment variable is not set|ninja: build stopped|[Cc]ould not find CUDA installation"
        r"|Ninja build failed|failed to open libnvrtc-builtins",
        "the server wants to compile GPU kernels while it starts, and its image has no CUDA compiler: write "
        '`models.NAME.env.VLLM_USE_FLASHINFER_SAMPLER: "0"`, take `--attention-backend` out of `models.NAME.args`, or '
        "take an image with the kernels in `{server}`",
        "https://github.com/flashinfer-ai/flashinfer/issues/1919",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "kernels-not-fetched",
        r"https?://edge\.urm\.nvidia\.com/.{0,300}(?:Max retries|[Ff]ailed|rror)|host='edge\.urm\.nvidia\.com'"
        r"|BatchedGemm\w{1,120}\.h not found",
        "the server wants to fetch GPU kernels of FlashInfer's from the internet, and its image lacks them: take an "
        "image with the package flashinfer-cubin in `{server}`, as vLLM's own, and `--attention-backend` and "
        "VLLM_USE_FLASHINFER_MOE_* out of `models.NAME.args` and `models.NAME.env`",
        "https://github.com/flashinfer-ai/flashinfer/issues/2941",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("hub",),
    ),
    Row(
        "c-compiler",
        r"Failed to find C compiler|Python\.h: No such file|cannot find -lcuda\b",
        "the server wants to compile while it starts, and its image has no C compiler, or not all of it: write "
        "`--enforce-eager` in `models.NAME.args`, or take an image with gcc in `{server}`",
        "https://github.com/vllm-project/vllm/issues/2997",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "command-missing",
        r"exec: \\?\"(?P<command>[^\"\\]+)\\?\": (?:executable file not found|stat \S+: no such file|permission denied)"
        r"|exec: (?P<second>[\w./-]+): (?:not found|Permission denied)"
        r"|sh: (?:\d+: )?(?!\S*nvcc)(?P<third>[\w./-]+): (?:not found|Permission denied|command not found)"
        r"|exec (?P<fourth>/\S+): no such file or directory",
        "the server's image has no {command}{second}{third}{fourth} that its user may run: it is not the image of the "
        "server that is expected. Take one of vLLM in `{server}`, or say how another is started in "
        "`models.NAME.server.command`",
        "https://github.com/vllm-project/vllm/issues/16402",
        Topic.ENGINE | Topic.START,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "module-missing",
        r"ModuleNotFoundError: No module named '(?P<module>[\w.]+)'|python3?: No module named (?P<second>[\w.]+)"
        r"|following packages that were not found in your environment: (?P<third>[\w, .-]+)"
        r"|requires the (?P<fourth>\w+) library but it was not found"
        r"|(?:Import|Runtime|Value)Error: Please install (?P<fifth>[\w\[\]-]+)",
        "the server's image lacks the Python package {module}{second}{third}{fourth}{fifth}: take an image that has "
        "it in `{server}` (for this model alone: `models.NAME.server.image`), and nothing of PYTHONPATH in "
        "`models.NAME.env`",
        "https://github.com/vllm-project/vllm/issues/2236",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "library-missing",
        r"version `(?P<library>(?:GLIBC|GLIBCXX|CXXABI|libcu)[\w.]*)' not found"
        r"|ImportError: cannot import name '\w+' from (?:partially initialized module )?'(?P<fourth>[\w.]+)'"
        r"|ImportError: \S+: undefined symbol: (?P<second>\w+)|(?:ImportError|OSError"
        r"|error while loading shared libraries): (?P<third>(?!\S*lib(?:cuda"
        r"|nvidia-ml)\.so)\S*lib[\w.+-]+): cannot open",
        "the libraries in the server's image do not go together ({library}{second}{third}{fourth}): take an image as "
        "its makers publish it in `{server}`, and nothing of LD_LIBRARY_PATH, LD_PRELOAD or PYTHONPATH in "
        "`models.NAME.env`",
        "https://github.com/vllm-project/vllm/issues/41103",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "service-variables",
        r"VLLM_PORT '(?P<value>[^']+)' appears to be a URI|invalid literal for int\(\) with base 10: "
        r"'(?P<other>tcp://[^']+)'",
        "a Service of the namespace {namespace} is named as the server's settings begin, and Kubernetes puts its "
        "address, {value}{other}, into every pod there (a Service vllm as VLLM_PORT): give that Service another name, "
        'or write `models.NAME.env.VLLM_PORT: "29500"`',
        "https://github.com/vllm-project/vllm/issues/34199",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "port-not-allowed",
        r"\[Errno 13\] error while attempting to bind on address \(\S+ (?P<port>\d+)\)"
        r"|bind\(\).{0,200}\(13: Permission denied\)",
        "the server may not listen on a port below 1024: `models.NAME.server.port: 8080`, and no `--port` in "
        "`models.NAME.args`",
        "uvicorn, uvicorn/server.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "port-in-use",
        r"\[Errno 98\] error while attempting to bind on address \(\S+(?P<port> \d+)\)|[Aa]ddress already in use"
        r"|EADDRINUSE",
        "the server's port{port} is taken by something else in its pod: take `--port` out of `models.NAME.args` and "
        "VLLM_PORT out of `models.NAME.env`; a sidecar on that port, or of another server `models.NAME.server.port`, "
        "has to change",
        "https://github.com/vllm-project/vllm/issues/7514",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "read-only",
        r"Read-only file system(?:: '(?P<path>[^']+)')?|mkdir (?P<second>\S+): read-only file system"
        r"|(?<![\w/])(?P<third>/[^\s:']{1,200})'?: Read-only file system",
        "the server writes to {place}, and but for /tmp nothing in its container can be written: have it write "
        "to /tmp by `models.NAME.env` (`models.NAME.env.HF_HOME: /tmp/hf`, XDG_CACHE_HOME, VLLM_CACHE_ROOT, "
        "TRITON_CACHE_DIR), or take `--download-dir` out of `models.NAME.args`",
        "https://github.com/llm-d-incubation/llm-d-modelservice/issues/243",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("cache-not-writable",),
    ),
    Row(
        "cache-not-writable",
        r"Permission denied: '(?P<path>/(?!mnt/models|model/|model'|proc/|dev/)[^']*)'"
        r"|(?:mkdir|create directory|open) (?P<second>/(?!mnt/models|model/|proc/|dev/)\S+): [Pp]ermission denied",
        "the server's user may not write to {path}{second}: have it write to /tmp, `models.NAME.env.HOME: /tmp` "
        "(or the variable of that folder, as HF_HOME, XDG_CACHE_HOME or TRITON_CACHE_DIR)",
        "https://github.com/llm-d/llm-d/issues/1430",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "no-user-name",
        r"getpwuid\(\): uid not found",
        "the server asks for its user's name, and the image has none for its number: write `models.NAME.env.USER: "
        "vllm` and `models.NAME.env.HOME: /tmp`",
        "https://github.com/vllm-project/vllm/issues/44548",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "no-space",
        r"No space left on device|No usable temporary directory found|Errno 28\b|os error 28\b|Disk quota exceeded",
        "the server has no room to write: its caches, in /tmp, lie on the node's disk. Set {disk}, or have it write "
        "less "
        '(`models.NAME.env.VLLM_DISABLE_COMPILE_CACHE: "1"`)',
        "https://github.com/state-spaces/mamba/issues/164",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "threads",
        r"can't start new thread|pthread_create failed|Resource temporarily unavailable",
        'the pod may not start more threads: write `models.NAME.env.OMP_NUM_THREADS: "4"` and '
        "`models.NAME.env.OPENBLAS_NUM_THREADS: \"4\"`, or raise the nodes' limit of processes a pod (the kubelet's "
        "podPidsLimit)",
        "kubelet 1.35, pkg/kubelet/cm (podPidsLimit)",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "runs-as-root",
        r"(?:image will run as root|runAsUser breaks non-root policy)(?:.{0,200}container: (?P<container>[\w.-]+))?",
        "the image of {container} runs as root, which the pod does not allow: take one that is built with `USER "
        "1010`, or another number than 0, in `{server}` or `models.NAME.server.image`",
        "https://github.com/goharbor/harbor-operator/issues/82",
        Topic.START,
        lasting=True,
    ),
    Row(
        "user-by-name",
        r"image has non-numeric user \((?P<user>[^)]{1,80})\)(?:.{0,200}container: (?P<container>[\w.-]+))?",
        "the image of {container} names its user, {user}, of whom the kubelet cannot know that it is not root: take "
        "one that is built with `USER 1010`, or another number, in `{server}` or `models.NAME.server.image`",
        "https://github.com/kubernetes-up-and-running/kuard/issues/43",
        Topic.START,
        lasting=True,
    ),
    Row(
        "no-such-user",
        r"(?:unable to find|can't find) (?P<what>user|group) (?P<user>\S+): no matching entries",
        "an image names its {what}, {user}, and has no such one in its /etc/passwd or /etc/group: take the image as "
        "its makers publish it in `{server}`, or build it with a number, as `USER 1010`",
        "https://github.com/podman-container-tools/podman/issues/1817",
        Topic.START,
        lasting=True,
    ),
    Row(
        "out-of-memory",
        r"OOMKilled|OOM-killed|Failed core proc\(s\): \{[^}]{0,400}: -9\b|exit code: -9\b|shutdown with signal 9\b"
        r"|DefaultCPUAllocator: (?:can't allocate|not enough) memory|Cannot allocate memory(?! in static TLS)"
        r"|std::bad_alloc|^MemoryError|node running low on memory",
        "the server was killed for memory, of which it has {memory}: raise `models.NAME.resources.memory`, or lower "
        "--max-model-len in `models.NAME.args`",
        "tests/watch/statuses/out-of-memory.json",
        Topic.ENGINE | Topic.START,
        Whose.SERVER | Whose.OTHER,
        hides=("killed",),
    ),
    Row(
        "modelcar-out-of-memory",
        r"OOMKilled|init was OOM-killed|OOM: the memory limit could be too low",
        "the modelcar was killed for memory, of which it has {memory}: set `platforms.kserve.modelcar.memory: "
        "{modelcar_memory}`",
        "https://github.com/aws/amazon-ecs-agent/issues/3021",
        Topic.ENGINE | Topic.START,
        Whose.MODEL,
        hides=("weights-not-mounted",),
    ),
    Row(
        "cpu-instructions",
        r"\(exit code 132\)|[Ii]llegal instruction|SIGILL|shutdown with signal 4\b"
        r"|Failed core proc\(s\): \{[^}]{0,400}: -4\b",
        "the server uses instructions that the node's CPU does not have, as AVX-512 in images of vLLM for CPUs: take "
        "nodes with them (machine types n2, c3 or newer: `nodePools.NAME.machineType`), or an image without in "
        "`{server}`",
        "https://github.com/vllm-project/vllm/issues/18660",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "engine-slow",
        r"Timed out waiting for (?:new )?engine(?: core processes|s to send initial message)"
        r"|Did not receive response from front-end process",
        "the server's processes took longer to start than it waits for them: write "
        '`models.NAME.env.VLLM_ENGINE_READY_TIMEOUT_S: "3600"` (seconds), and `models.NAME.startupTimeout` no lower',
        "vLLM v0.23.0, vllm/v1/engine/core_client.py",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "health-path",
        r"probe failed: HTTP probe failed with statuscode: (?P<status>40[0-9])",
        "the server answers its probe with {status}: it has no such path, or wants a key there. Write the path that "
        "says that it is ready in `models.NAME.server.health`, and its port in `models.NAME.server.port`",
        "https://github.com/llm-d/llm-d-inference-sim/issues/45",
        Topic.PROBE,
        hides=("startup-probe", "liveness-probe"),
    ),
    Row(
        "startup-probe",
        r"Container (?P<container>\S+) failed startup probe",
        "the server did not answer within `models.NAME.startupTimeout` and was ended: raise it (seconds; a large model "
        "takes an hour), or see in its log what it was at: " + _LOG,
        "https://github.com/vllm-project/aibrix/issues/1054",
        Topic.PROBE,
    ),
    Row(
        "liveness-probe",
        r"Container (?P<container>\S+) failed liveness probe",
        "the server was ready and then no longer answered, and was ended: see its log (" + _LOG + "); a server that is "
        "only busy wants more of `models.NAME.resources.cpu`, or fewer requests a pod (`models.NAME.replicas.max`)",
        "kubelet 1.35, pkg/kubelet/kuberuntime/kuberuntime_manager.go",
        Topic.PROBE,
    ),
    Row(
        "killed",
        r"\(exit code 137\)",
        "the server was killed, and nobody says why: most likely for memory, of which it has {memory} (the kernel "
        "ended one of its processes, or the node's memory ran out): raise `models.NAME.resources.memory`; else its "
        "pod was ended from outside (`kubectl -n {namespace} describe pod {pod}`)",
        "https://github.com/kubernetes/kubernetes/issues/122256",
        Topic.ENGINE,
        Whose.SERVER,
        last=True,
    ),
    Row(
        "native-crash",
        r"\(exit code 139\)|Segmentation fault|Failed core proc\(s\): \{[^}]{0,400}: -(?:11|6)\b"
        r"|shutdown with signal (?:11|6)\b|double free or corruption|corrupted size"
        r"|free\(\): invalid|malloc\(\): |\(exit code 134\)",
        "the server broke in native code: take another version in `{server}` (for this model alone: "
        "`models.NAME.server.image`), and nothing of LD_PRELOAD in `models.NAME.env`; the lines before in its log say "
        "where it was (" + _LOG + ")",
        "https://github.com/vllm-project/vllm/issues/15631",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("cause-above",),
        last=True,
    ),
    Row(
        "settings-refused",
        r"[Vv]alue error, (?P<words>.{1,200}?)(?: \[type=|$)",
        "the server refuses what it is told: {words}. Correct that in `models.NAME.args`, or take it out; where it is "
        "of the model's own config.json, a newer `{server}` may take it",
        "vLLM v0.23.0, vllm/config",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("cause-above",),
        last=True,
    ),
    Row(
        "compile-failed",
        r"BackendCompilerFailed|InductorError|PTXASError|Internal Triton PTX codegen error|TritonCompilationError",
        "the server could not compile the model: write `--enforce-eager` in `models.NAME.args`, which is slower, or "
        "take another version in `{server}` (for this model alone: `models.NAME.server.image`)",
        "PyTorch 2.9, torch/_inductor/exc.py",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("cause-above",),
        last=True,
    ),
    Row(
        "server-unfit",
        r"object has no attribute '|module '[\w.]{1,100}' has no attribute '"
        r"|TypeError: [\w.]{1,100}\(\) (?:got an unexpected keyword argument|missing \d+ required)",
        "the server's own code fails on this model: its version knows the model's kind, or the way it is quantised, "
        "not well enough, or its libraries are not those that it was made with. Take another version in `{server}` "
        "(for this model alone: `models.NAME.server.image`), as a rule a newer one",
        "https://github.com/kubeai-project/kubeai/issues/533",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("cause-above",),
        last=True,
    ),
    Row(
        "stopped",
        r"KeyboardInterrupt: terminated|\(exit code 143\)",
        "the server was told to stop before it was ready: most likely its startup probe gave up, after "
        "`models.NAME.startupTimeout` (raise it), or its pod was deleted (`kubectl -n {namespace} describe pod {pod}`)",
        'vLLM documentation, docs/deployment/k8s.md, "Troubleshooting"',
        Topic.ENGINE,
        Whose.SERVER,
        last=True,
    ),
    Row(
        "cause-above",
        r"Engine core initialization failed|Engine process failed to start|EngineDeadError|EngineCore failed to start"
        r"|WorkerProc initialization failed|failed to be inspected|ShardCannotStart",
        "these are the server's last words, and their cause stands further up in its log, in the first line with "
        "`Error:`: " + _LOG,
        "vLLM v0.23.0, vllm/v1/engine/utils.py",
        Topic.ENGINE,
        Whose.SERVER,
        last=True,
    ),
)
