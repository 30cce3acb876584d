"""What a server says of a model's files: config, tokenizer, weights, adapters, and its own code for them."""

from watch.complaints import Topic
from watch.containers import Whose
from watch.table.row import Row

_PACK = "add it to the model's source and run `pulumi up`, and see that `models.NAME.files` does not leave it out"

ROWS = (
    Row(
        "unreadable-files",
        r"Permission denied.{0,300}(?:/mnt/models|/model/|/proc/\d)"
        r"|(?:/mnt/models|/model/|/proc/\d).{0,300}Permission denied",
        "the server's user may not read the files (modelcar forces uid 1010): build the image with "
        "`oms image pack`, which makes them readable for all",
        "tests/watch/statuses/unreadable-files.json",
        Topic.ENGINE,
        hides=("no-config",),
    ),
    Row(
        "weights-not-mounted",
        r"is empty after \d+ s: no modelcar link",
        "the folder of the weights stayed empty: see what the modelcar says (`kubectl -n {namespace} logs {pod} -c "
        "modelcar`); with `models.NAME.delivery: native` the node's containerd must be 2.1 or newer (GKE 1.34.4)",
        "components/serving/vllm.py",
        Topic.ENGINE,
        Whose.SERVER,
    ),
    Row(
        "remote-code",
        r"contains custom code which must be executed|requires you to execute the \w+ file in that repo"
        r"|consider setting `trust_remote_code=True`|Please (?:pass|set) the (?:argument"
        r"|option) `trust_remote_code=True`",
        "the model brings code of its own, which the server runs only if told to: read that code, then write "
        "`--trust-remote-code` in `models.NAME.args`, and `cluster.allowList.remoteCode: true` where the cluster "
        "refuses it; or take a newer `{server}`, which may know the model without its code",
        "vLLM v0.23.0, vllm/transformers_utils/config.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("architecture-unknown", "tokenizer-missing"),
    ),
    Row(
        "hub-name",
        r"(?:Cannot reach |url: |for url:? )https?://huggingface\.co/(?:api/models/)?(?P<name>[\w.-]+/[\w.-]+)"
        r"|huggingface\.co', port=443\): Max retries exceeded with url: /(?:api/models/)?(?P<other>[\w.-]+/[\w.-]+)"
        r"|have access to it at https://huggingface\.co/(?P<third>[\w.-]+/[\w.-]*\w)",
        "the server asks the hub for {name}{other}{third}, and a model's pod is kept offline: pack that into the "
        "model's image and name its path there (/mnt/models on KServe, /model on KubeAI) in `models.NAME.args`, as of "
        "`--model`, `--tokenizer` or `--speculative-config`; an adapter belongs into `models.NAME.adapters`",
        "https://github.com/vllm-project/vllm/issues/3719",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("hub", "no-config"),
    ),
    Row(
        "hub",
        r"OfflineModeIsEnabled|offline mode is enabled|outgoing traffic has been disabled|LocalEntryNotFoundError"
        r"|couldn't connect to 'https://huggingface\.co'|Failed to resolve 'huggingface\.co'"
        r"|GatedRepoError|(?:[Cc]annot|trying to) access (?:a )?gated repo"
        r"|is not a local folder and is not a valid model identifier",
        "the server asks the hub for a file, and a model's pod is kept offline: what `models.NAME.args` names of the "
        "hub (`--model`, `--tokenizer`, `--hf-config-path`, `--speculative-config`, `--lora-modules`) must be a path "
        "in the model's image: /mnt/models on KServe, /model on KubeAI; and a file that the log names must be packed: "
        + _PACK,
        "transformers 5.24, src/transformers/utils/hub.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("no-config",),
    ),
    Row(
        "vocabulary-not-fetched",
        r"(?:error downloading or loading|failed to download or load) vocab file"
        r"|openaipublic\.blob\.core\.windows\.net",
        "the server wants to fetch its vocabulary from the internet (gpt-oss): put the files o200k_base.tiktoken and "
        "cl100k_base.tiktoken into the model's source, run `pulumi up`, and write "
        "`models.NAME.env.TIKTOKEN_ENCODINGS_BASE: /mnt/models` (/model on KubeAI)",
        "https://github.com/vllm-project/vllm/issues/22525",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("hub",),
    ),
    Row(
        "path-missing",
        r"Repo id must (?:be|use) .{1,200}?: '(?P<path>/[^']*)'|The model path (?P<other>/\S+) does not exist"
        r"|failed to open GGUF file '(?P<third>[^']+)' \(No such file",
        "the server was told of {path}{other}{third}, which is not there: the weights are at /mnt/models on KServe, "
        "/model on KubeAI; correct `models.NAME.args` (`models.NAME.server.args` of another server)",
        "huggingface_hub, src/huggingface_hub/utils/_validators.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("hub", "no-config"),
    ),
    Row(
        "architecture-dropped",
        r"Model architecture (?P<architecture>\w+) was supported in vLLM until v(?P<version>[\d.]+\d)",
        "this version of the server no longer knows {architecture}: write `{server}: "
        "docker.io/vllm/vllm-openai:v{version}` or an older one, for this model alone in `models.NAME.server.image`",
        "vLLM v0.23.0, vllm/model_executor/models/registry.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "architecture-unknown",
        r"Model architectures \['?(?P<first>[\w.-]{1,100})[^\]]{0,300}\] are not supported for now"
        r"|has model type [`'](?P<second>[\w.-]+)[`'] but Transformers does not recognize"
        r"|unknown model architecture: '(?P<third>[\w.-]+)'"
        r"|GGUF model with architecture (?P<fourth>\S+) is not supported|Unsupported model type:? (?P<fifth>[\w.-]+)"
        r"|CONFIG_MAPPING\[.{0,200}\n(?:.{0,200}\n){0,6}?.{0,200}KeyError: '(?P<sixth>[\w.-]+)'"
        r"|\b(?P<seventh>\w{1,100}) has no vLLM implementation",
        "this version of the server does not know the architecture "
        "{first}{second}{third}{fourth}{fifth}{sixth}{seventh}: take a newer one in `{server}` (for this model alone: "
        "`models.NAME.server.image`)",
        "https://github.com/vllm-project/vllm/issues/36217",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("architecture-unlisted",),
    ),
    Row(
        "architecture-unlisted",
        r"(?:'\w+(?:ForCausalLM|ForConditionalGeneration|ForSequenceClassification|Model|LMHeadModel)', ){6}",
        "this version of the server does not know the model's architecture (the end of its list of those that it "
        "knows is all that is left of its words): take a newer one in `{server}` (for this model alone: "
        "`models.NAME.server.image`)",
        "vLLM v0.23.0, vllm/model_executor/models/registry.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("cause-above",),
        last=True,
    ),
    Row(
        "config-without-type",
        r"Unrecognized model in \S+\. Should have a `model_type` key|No model architectures are specified"
        r"|xlnet, xmod, yolos, yoso",  # the end of the same words: they name all kinds that there are
        "the model's config.json does not say what the model is: it lacks `model_type` or `architectures`. Take the "
        "whole of what is published into the source and run `pulumi up`; an adapter alone belongs into "
        "`models.NAME.adapters`",
        "transformers, src/transformers/models/auto/configuration_auto.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "config-broken",
        r"is not a valid JSON file|json\.decoder\.JSONDecodeError",
        "a JSON file of the model, or a value in `models.NAME.args`, is not valid JSON: the lines before in the log "
        "name it (`kubectl -n {namespace} logs {pod} -c {container} --previous`)",
        "transformers, src/transformers/configuration_utils.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "no-config",
        r"Invalid repository ID or local directory specified: '(?P<path>[^']+)'|No supported config format found"
        r"|Could not detect config format for no config file found|does not appear to have a file named config\.json"
        r"|Can't load the configuration of|No such file or directory.{0,200}config\.json",
        "the model's image has no config.json where the server looks (at the top of /mnt/models, /model on KubeAI): "
        "see `oms image inspect REF`; " + _PACK + "; a GGUF file alone is found by itself",
        "vLLM v0.23.0, vllm/transformers_utils/config.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "tokenizer-missing",
        r"Can't load tokenizer for|Couldn't instantiate the backend tokenizer|No tokenizer file found"
        r"|Unable to load vocabulary from file|Tokenizer class \w+ does not exist or is not currently imported"
        r"|does not appear to have a file named (?:tokenizer|vocab|spiece)|not a valid tokenizer"
        r"|did not match any variant of untagged enum ModelWrapper"
        r"|tokenization_\w{1,40}\.py\W(?:.{0,200}\n){1,12}?.{0,200}TypeError: "
        r"(?:expected str, bytes or os\.PathLike object, not NoneType|not a string)",
        "the model's image holds no tokenizer that the server can load (tokenizer.json, tokenizer.model or vocab.json, "
        "with tokenizer_config.json): add it to the source, name it in `models.NAME.files.allow` if that is set, and "
        "run `pulumi up`; a tokenizer of a newer kind wants a newer `{server}`",
        "https://github.com/lm-sys/FastChat/issues/492",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("file-missing",),
    ),
    Row(
        "file-missing",
        r"does not appear to have a file named (?!config\.json)(?P<file>[\w./-]*\w)"
        r"|No such file or directory: '?\"?/(?:mnt/models|model)/(?!config\.json)(?P<other>[\w./-]*\w)",
        "the model's image has no {file}{other}: " + _PACK,
        "transformers, src/transformers/utils/hub.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "chat-template",
        r"supplied chat template (?:string |path )?\(?(?P<path>[^()\s]*)\)? ?(?:appears path-like"
        r"|looks like a file path)",
        "the file that `--chat-template` names, {path}, is not in the server's container: pack it with the model and "
        "write `--chat-template=/mnt/models/FILE` in `models.NAME.args` (/model on KubeAI); a template in "
        "tokenizer_config.json or chat_template.jinja is found without",
        "https://github.com/vllm-project/vllm/issues/47600",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "weights-corrupt",
        r"Error while deserializing header|SafetensorError"
        r"|PytorchStreamReader failed|invalid load key, '|UnpicklingError"
        r"|Unable to load weights from pytorch checkpoint|invalid magic characters"
        r"|tensor .{1,80} data is not within (?:the )?file bounds",
        "a file of the weights is cut off or none, as a Git LFS pointer of 135 bytes is: get the "
        "source again whole (`git lfs pull`; a source hf://org/name@<commit> is checked while it is read) and run "
        "`pulumi up`; `oms image inspect REF` shows the sizes",
        "https://github.com/QwenLM/Qwen3-VL/issues/264",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "no-weights",
        r"Cannot find any model weights with `?(?P<path>[^`\s]+)`?|No safetensors weights found for model"
        r"|No local weights found in"
        r"|no file named (?:pytorch_model|model)\.\w+.{0,200} found in directory",
        "the server finds no weights that it can load: safetensors at the top of the image, beside config.json. See "
        "`oms image inspect REF` and `models.NAME.files.allow`; pickles alone want `models.NAME.files.convert: "
        "safetensors`; take `--load-format` out of `models.NAME.args`",
        "https://github.com/vllm-project/vllm/issues/3329",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
        hides=("hub",),
    ),
    Row(
        "weights-unfit",
        r"[Ff]ollowing weights were not initialized from checkpoint|There is no module or parameter named"
        r"|KeyError: '(?:model|transformer|language_model|visual|lm_head|layers|blocks)\.[\w.]+'"
        r"|Attempted to load weight \(|assert (?:param\w*|loaded_weight)\.(?:data\.)?(?:size|shape)\b"
        r"|size mismatch for |weight [\w.]+ does not exist"
        r"|Error\(s\) in loading state_dict|done_getting_tensors: wrong number of tensors|missing tensor '",
        "the weights are not those that the server expects of such a model: some are missing, or others are there. "
        "Take the whole of what is published as the source and run `pulumi up`; a model newer than the server wants a "
        "newer `{server}`",
        "https://github.com/vllm-project/vllm/issues/12860",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "weights-unlisted",
        r"(?:'[\w.]+\.(?:weight|bias|qweight|scales|weight_scale)',\s*){6}",
        "the weights are not those that the server expects of such a model (the end of a list of those that are "
        "missing, or that it does not know, is all that is left of its words): take the whole of what is published as "
        "the source and run `pulumi up`; a model newer than the server wants a newer `{server}`",
        "https://github.com/vllm-project/vllm/issues/12860",
        Topic.ENGINE,
        Whose.SERVER,
        hides=("cause-above",),
        last=True,
    ),
    Row(
        "quantisation-mismatch",
        r"Quantization method specified in the model config \((?P<stored>[^)]{1,80})\) does not match the "
        r"quantization\s+method specified in the `quantization` argument \((?P<asked>[^)]{1,80})\)",
        "the weights are quantised with {stored}, and `models.NAME.args` ask for {asked}: take `--quantization` out, "
        "the server finds it by itself",
        "https://github.com/vllm-project/vllm/issues/19050",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "quantisation-unknown",
        r"Unknown quantization method: (?P<method>[\w-]+)"
        r"|No compressed-tensors compatible (?P<scheme>scheme) was found",
        "this version of the server does not know how the weights are quantised ({method}{scheme}): take a newer one "
        "in `{server}` (for this model alone: `models.NAME.server.image`); where `models.NAME.args` ask for it, take "
        "`--quantization` out",
        "https://github.com/vllm-project/llm-compressor/issues/1427",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "not-quantised",
        r"Cannot find the config file for (?P<method>\w+)",
        "the weights are not quantised in the way that `models.NAME.args` ask for ({method}): take "
        "`--quantization` out",
        "vLLM v0.23.0, vllm/model_executor/model_loader/weight_utils.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "quantisation-platform",
        r"(?<![\w-])(?P<method>[\w-]{1,40}) quantization is currently not supported in (?P<device>\w+)",
        "the server does not take weights in the form {method} on {device}: give the model a `models.NAME.nodePool` "
        "with GPUs, or take weights in another form",
        "vLLM v0.23.0, vllm/platforms/interface.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "quantisation-dtype",
        r"torch\.(?P<dtype>\w+) is not supported for quantization method (?P<method>[\w-]+)\. Supported dtypes: "
        r"\[torch\.(?P<wanted>\w+)",
        "weights in the form {method} are not computed in {dtype}: write `--dtype={wanted}` in `models.NAME.args`",
        "vLLM v0.23.0, vllm/config/vllm.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "float16",
        r"model type '(?P<kind>\w+)' does not support float16",
        "a {kind} is not computed in float16: write `--dtype=bfloat16` in `models.NAME.args`, or `--dtype=float32` on "
        "a GPU without it",
        "vLLM v0.23.0, vllm/config/model.py",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "lora-rank",
        r"LoRA rank (?P<rank>\d+) is greater than max_lora_rank (?P<most>\d+)",
        "an adapter has rank {rank}, and the server was told of {most} at most: write `--max-lora-rank={rank}` in "
        "`models.NAME.args`, or the next of 8, 16, 32, 64, 128, 256, 320, 512",
        "https://github.com/vllm-project/vllm/issues/2847",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
    Row(
        "lora-unfit",
        r"does not support LoRA\b|is unsupported LoRA weight|expected target modules in .{0,800} but received"
        r"|Adapter bias is not supported|does not (?:yet )?support DoRA|only supports modules_to_save being None"
        r"|No adapter found for|When using LoRA, vocab size must be",
        "the server cannot load an adapter of `models.NAME.adapters` beside this model: the log says which and why "
        "(`kubectl -n {namespace} logs {pod} -c {container} --previous`); merge it into the model's weights, or take "
        "it out",
        "vLLM v0.23.0, vllm/lora",
        Topic.ENGINE,
        Whose.SERVER,
        lasting=True,
    ),
)
