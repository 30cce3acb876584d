"""GPUs, their drivers and what is between them: what a server says that cannot use them."""

from watch.complaints import Topic
from watch.containers import Whose
from watch.table.row import Row

_CAPABILITIES = "(75: nvidia-tesla-t4; 80: nvidia-tesla-a100; 89: nvidia-l4; 90: nvidia-h100-80gb; 100: nvidia-b200)"

ROWS = (
    Row(
        "driver-too-old",
        r"driver on your system is too old|CUDA driver version is insufficient for CUDA runtime version"
        r"|Error 804\b|forward compatibility was attempted on non supported HW|unsatisfied condition: cuda>="
        r"|compiled with an unsupported toolchain|CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        "the node's GPU driver is older than the CUDA that the server was built for: `{setting}.driverVersion: "
        "LATEST`, or an older version of the server in `{server}`",
        "https://github.com/vllm-project/vllm/issues/4940",
        Topic.ENGINE | Topic.START,
        Whose.SERVER,
        lasting=True,
        hides=("no-gpu",),
    ),
    Row(
        "driver-mismatch",
        r"unsupported display driver / cuda driver combination|Error 803\b",
        "the server's image loads CUDA libraries of its own in place of the driver's, which GKE mounts at "
        "/usr/local/nvidia: write `models.NAME.env.LD_LIBRARY_PATH: /usr/local/nvidia/lib64`, or take an image of "
        "another CUDA version in `{server}`, or `{setting}.driverVersion: LATEST`",
        "https://github.com/gpustack/gpustack/issues/4678",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("no-gpu",),
    ),
    Row(
        "gpu-not-ready",
        r"Error 802\b|system not yet initialized|CUDA_ERROR_SYSTEM_NOT_READY|cudaErrorSystemNotReady"
        r"|CUDA-capable devices?(?:\(s\))? (?:is/)?are busy or unavailable",
        "the node's GPUs are not ready: the links between them are not up (NVIDIA's fabric manager), or another "
        "process holds them. Wait, then "
        "`kubectl -n {namespace} delete pod {pod}`; if it comes back, `kubectl cordon {node}` and delete the pod, so "
        "that another node is taken",
        "https://github.com/huggingface/huggingface_hub/issues/4134",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("no-gpu",),
    ),
    Row(
        "gpu-broken",
        r"uncorrectable (?:ECC|NVLink) error|GPU is lost|has fallen off the bus|CUDA_ERROR_ECC_UNCORRECTABLE"
        r"|Unable to determine the device handle for (?:GPU|gpu)|NVRM: Xid",
        "a GPU of the node is broken: `kubectl cordon {node}`, then `kubectl -n {namespace} delete pod {pod}`, so that "
        "another node is taken; GKE's node repair, or deleting the machine, brings a new one",
        "https://github.com/vllm-project/vllm/issues/5222",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "gpu-fault",
        r"an illegal memory access was encountered|unspecified launch failure|device-side assert triggered"
        r"|CUDA error: misaligned address|operation not permitted when stream is capturing",
        "the server's own code failed on the GPU: take another version in `{server}` (for this model alone: "
        "`models.NAME.server.image`), or write `--enforce-eager` in `models.NAME.args` and take `--kv-cache-dtype` and "
        "`--attention-backend` out; where it comes on one node only, that GPU is broken: `kubectl cordon {node}`",
        "https://github.com/vllm-project/vllm/issues/17663",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "gpu-on-chip-memory",
        r"OutOfResources: out of resource: (?P<what>[\w ]+)",
        "a part of the server's code takes more of the GPU's {what} than this kind of GPU has: take another version in "
        "`{server}` (for this model alone: `models.NAME.server.image`), or another `{setting}.accelerator`",
        "https://github.com/vllm-project/vllm/issues/36802",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("cause-above",),
        last=True,
    ),
    Row(
        "gpu-by-uuid",
        r"invalid literal for int\(\) with base 10: '(?:MIG|GPU)-",
        "the server does not take a GPU, or a part of one, by its UUID: take CUDA_VISIBLE_DEVICES out of "
        '`models.NAME.env`, or write `models.NAME.env.CUDA_VISIBLE_DEVICES: "0"`: the pod sees only its own GPUs',
        "https://github.com/vllm-project/vllm/issues/41848",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "fork-after-cuda",
        r"Cannot re-initialize CUDA in forked subprocess",
        "the server forks its processes after it has touched the GPU: write "
        "`models.NAME.env.VLLM_WORKER_MULTIPROC_METHOD: spawn`",
        "https://github.com/vllm-project/vllm/issues/8893",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "part-of-gpu",
        r"NVMLError_NoPermission|NVMLError\w{0,40}: Insufficient Permissions",
        "the server asks for what a part of a GPU (MIG) does not tell: take a newer version in `{server}`, or whole "
        "GPUs, `{setting}` without gpuPartitionSize",
        "https://github.com/NVIDIA/nvidia-container-toolkit/issues/842",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "no-gpu",
        r"Failed to infer device type|No CUDA GPUs are available|no CUDA-capable device is detected"
        r"|Found no NVIDIA driver on your system|libcuda\.so cannot found|CUDA driver initialization failed"
        r"|(?:ImportError|OSError|shared libraries): lib(?:cuda|nvidia-ml)\.so|Torch not compiled with CUDA enabled"
        r"|Failed to start model server: integer division or modulo by zero"
        r"|nvidia-container-cli: (?:initialization|detection|device) error|nvml error: driver not loaded"
        r"|unresolvable CDI devices|Device string must not be empty|vLLM is running on UnspecifiedPlatform"
        r"|NVMLError_(?:DriverNotLoaded|LibraryNotFound)",
        "the server finds no GPU: give the model `models.NAME.nodePool`, and see that its driver is installed "
        "(`{setting}.driverVersion` is not INSTALLATION_DISABLED; its pods run in kube-system). A model without a node "
        "pool takes `platforms.kserve.server.cpuImage`, which must be built for CPUs",
        "https://github.com/vllm-project/vllm/issues/13946",
        Topic.ENGINE | Topic.START,
        Whose.SERVER,
    ),
    Row(
        "gpu-architecture",
        r"no kernel image is available for execution|device kernel image is invalid"
        r"|GPUs with compute capability below [\d.]+ are not supported"
        r"|is not compatible with the current PyTorch installation"
        r"|is not supported with Compute Capability|ptxas fatal\s*: Value 'sm_\w+' is not defined"
        r"|FlashAttention only supports \w+ GPUs or newer",
        "the server has no code for this kind of GPU: for a GPU newer than the server take a newer version in "
        "`{server}`, for one too old another `{setting}.accelerator` (vLLM: nvidia-tesla-t4 or newer)",
        "https://github.com/llm-d/llm-d/issues/84",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "bfloat16",
        r"Bfloat16 is only supported on GPUs|bfloat16 is (?:only|not) supported on",
        "the GPU does not compute in bfloat16, which the model asks for: write `--dtype=half` in `models.NAME.args`, "
        "or take another `{setting}.accelerator`, as nvidia-l4",
        "https://github.com/vllm-project/vllm/issues/1157",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "quantisation-gpu",
        r"[Qq]uantization (?:method|scheme) .{0,200}Min(?:imum)? capability: (?P<least>\d+)",
        "the model's quantisation wants a GPU of compute capability {least} " + _CAPABILITIES + ": give "
        "`models.NAME.nodePool` such a `{setting}.accelerator`, or take weights in another form",
        "https://github.com/vllm-project/vllm/issues/4202",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "fp8-gpu",
        r"fp8e4nv not supported in this architecture|torch\._scaled_mm is only supported on"
        r"|(?:FP8|fp8|NVFP4|MXFP4).{0,60}(?:requires?|only supported).{0,60}compute capability"
        r"|No compiled cutlass_\w+ for (?:a )?compute capability",
        "the GPU does not compute in the form that weights or KV cache have: take `--kv-cache-dtype` out of "
        "`models.NAME.args`, or a GPU that does (compute capability 89 and more) " + _CAPABILITIES + " by "
        "`{setting}.accelerator`, or weights in another form",
        "vLLM v0.23.0, vllm/model_executor/layers/quantization",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("gpu-architecture",),
    ),
    Row(
        "too-few-gpus",
        r"(?:[Ww]orld[ _]size|[Tt]ensor parallel size) \((?P<asked>\d+)\) (?:is (?:less than than max local gpu count"
        r"|larger than the number of available GPUs)|must be less than or equal to the number of visible devices"
        r"|exceeds available GPUs).{0,24}\((?P<there>\d+)\)",
        "the server is told to use {asked} GPUs, and the pod has {there}: `models.NAME.gpus: {asked}` (at most "
        "{setting}.count), or `--tensor-parallel-size={there}` in `models.NAME.args`, which without it is as many as "
        "there are",
        "https://github.com/vllm-project/vllm/issues/15217",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("no-such-gpu",),
    ),
    Row(
        "no-such-gpu",
        r"number of required (?:\w+ )?GPUs exceeds the total number of available|invalid device ordinal"
        r"|DP adjusted local rank \d+ is out of bounds|is true but only found \d+ CUDA devices",
        "the server is told to use more GPUs than the pod has: `models.NAME.gpus` must be its `--tensor-parallel-size` "
        "times `--pipeline-parallel-size` times `--data-parallel-size` of `models.NAME.args` (at most "
        "{setting}.count); without these arguments it uses what there is",
        "https://github.com/vllm-project/vllm/issues/2416",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "heads-not-divisible",
        r"Total number of (?:attention |key/value |KV )?heads \((?P<heads>\d+)\) must be divisible by (?:the )?tensor "
        r"parallel size \((?P<gpus>\d+)\)",
        "{gpus} GPUs do not divide the model's {heads} attention heads: `models.NAME.gpus: {dividing_gpus}`, or "
        "`--tensor-parallel-size={dividing_gpus}` in `models.NAME.args`, beside which `--pipeline-parallel-size` may "
        "use the others",
        "vLLM v0.23.0, vllm/config/model.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "quantised-groups",
        r"size is not aligned with the quantized weight shape"
        r"|put_size\w{0,40} .{0,60}is not divisible by\s+"
        r"(?:min_thread_\w|group_size|weight quantization block_\w) = \d+"
        r"|put_size_per_partition = \d+ is not divisible\s*by",
        "split over so many GPUs the model's quantised weights do not come out in whole groups: take fewer GPUs, half "
        "as many, by `models.NAME.gpus` (or `--tensor-parallel-size` in `models.NAME.args`), or weights of a smaller "
        "group size or in another form",
        "https://github.com/vllm-project/vllm/issues/13980",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("not-divisible",),
    ),
    Row(
        "not-divisible",
        r"AssertionError: (?P<size>\d+) is not divisible by (?P<gpus>\d+)"
        r"|assert (?:\w+\.)?\w+ % (?:\w+\.)?(?:tp_size|tensor_parallel_size|world_size)\b"
        r"|assert (?:\w+\.)?tp_size % (?:\w+\.)?\w+"
        r"|hidden layers \(\d+\) must be divisible|must be divisible by (?:ep|tp|pp|dp|world)_size\b"
        r"|[Tt]ensor parallel size \d+ is greater than the number of experts",
        "the number of GPUs does not divide what the model has of heads, layers, experts or vocabulary: take 1, 2, 4 "
        "or 8 by `models.NAME.gpus` (or `--tensor-parallel-size` in `models.NAME.args`), of which the model's "
        "num_key_value_heads in config.json tells which divide",
        "vLLM v0.23.0, vllm/distributed/utils.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "not-split",
        r"[Ss]harded is not supported for|Sharded [\w-]+ requires Flash Attention",
        "this server does not split this model over GPUs: `models.NAME.gpus: 1`, or another server "
        "(`models.NAME.server.image`)",
        "https://github.com/huggingface/text-generation-inference/issues/2146",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "shared-memory",
        r"while (?:creating|attaching to) shared memory segment|/dev/shm.{0,200}No space left|posix_fallocate failed"
        r"|insufficient shared memory|out of shared memory|[Bb]us error|SIGBUS|shutdown with signal 7\b"
        r"|\(exit code 135\)|Failed core proc\(s\): \{[^}]{0,400}: -7\b|exit code: -7\b",
        "the server's processes talk over /dev/shm, which is too small: `models.NAME.resources.shm: {shm}` (it counts "
        "as memory of the pod: see `models.NAME.resources.memory`)",
        "https://github.com/NVIDIA/nccl/issues/525",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("nccl", "no-space"),
    ),
    Row(
        "nccl-peers",
        r"peer access is not supported|NCCL WARN.{0,100}(?:P2P|cuMem|CUMEM).{0,100}(?:fail|error)"
        r"|ncclCuMem.{0,120}(?:fail|rror)",
        'the GPUs do not reach each other\'s memory: write `models.NAME.env.NCCL_P2P_DISABLE: "1"` and '
        '`models.NAME.env.NCCL_CUMEM_ENABLE: "0"`; slower, but it starts',
        "https://github.com/NVIDIA/nccl/issues/1838",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("nccl",),
    ),
    Row(
        "custom-all-reduce",
        r"custom_all_reduce\.cuh:\d+",
        "vLLM's own way of adding up between GPUs does not do on this node: write `--disable-custom-all-reduce` in "
        "`models.NAME.args`",
        "https://github.com/vllm-project/vllm/issues/5613",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("nccl",),
    ),
    Row(
        "nccl",
        r"NCCL error|ncclSystemError|ncclUnhandledCudaError|ncclInternalError|ncclRemoteError|DistBackendError"
        r"|Watchdog caught collective operation timeout|DistStoreError|Timed out after \d+ seconds waiting for clients",
        "the processes of several GPUs could not talk to each other (NCCL): most often /dev/shm is too small, "
        "`models.NAME.resources.shm: {shm}`; else `models.NAME.env.NCCL_DEBUG: INFO` has the log say why "
        "(`kubectl -n {namespace} logs {pod} -c {container} --previous`)",
        "https://github.com/vllm-project/vllm/issues/6732",
        Topic.ENGINE,
        Whose.SERVER,
    ),
)
