"""Tiny random classifiers and language models of every family, and a tokenizer for them."""

from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    CamembertConfig,
    Data2VecTextConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ErnieConfig,
    GPT2Config,
    MegatronBertConfig,
    ModernBertConfig,
    MPNetConfig,
    NomicBertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RemBertConfig,
    RobertaConfig,
    RobertaPreLayerNormConfig,
    XLMRobertaConfig,
    XLMRobertaXLConfig,
)

from secateur.config.families import OTHERS
from secateur.families import FAMILIES, family_named, family_of
from secateur.families.decoder import Decoder
from secateur.families.structures import Masks
from secateur.models.heads import labels_texts
from secateur.models.surgery import widths_of

LABELS = ["negative", "neutral", "positive"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "day", "train", "very", "the", "a", "is"]
FAMILY_TYPES = sorted([*FAMILIES, *OTHERS])
TOGETHER = [name for name in FAMILY_TYPES if family_named(name).heads_go_together]
"""Decoders whose layers have one head or none; the suites of the others count four."""
_APART = [name for name in FAMILY_TYPES if name not in TOGETHER]
MODEL_TYPES = [name for name in _APART if not family_named(name).generates]
DECODER_TYPES = [name for name in _APART if family_named(name).generates]
CLASSIFIER_TYPES = [name for name in _APART if labels_texts(CONFIG_MAPPING[name])]
FILLING = [
    name
    for name in DECODER_TYPES
    if isinstance(family := family_named(name), Decoder) and family.config.query_counts == "filling"
]
"""Decoders whose config knows no features of a head: heads fill the hidden size, as those of encoders do."""


def _table(name: str) -> str:
    """What a family is besides its name."""
    family = family_named(name)
    if isinstance(family, Decoder):
        return repr(replace(family, config=replace(family.config, model_type="")))
    return repr(replace(family, model_type=""))


ENCODER_TABLES = sorted({_table(name): name for name in reversed([*FAMILIES, *OTHERS]) if name in MODEL_TYPES}.values())
"""One encoder for every table: to tests that take seconds, families that differ in their name alone are one."""
_NO_OTHER_GRAPH = (
    "eurobert", "megatron-bert", "nomic_bert", "rembert", "roberta", "roberta-prelayernorm", "xlm-roberta-xl",
)  # fmt: skip
GRAPHS = [name for name in ENCODER_TABLES if name not in _NO_OTHER_GRAPH]
"""Encoders whose graphs differ: ELECTRA has BERT's layers, RoBERTa's head and RemBERT's entrance; the products of
Megatron are MPNet's, norms in front of the blocks, rotary positions and gates ModernBERT's; EuroBERT is Llama."""
_ENCODERS = {
    "bert": BertConfig, "camembert": CamembertConfig, "data2vec-text": Data2VecTextConfig,
    "megatron-bert": MegatronBertConfig, "mpnet": MPNetConfig, "nomic_bert": NomicBertConfig, "roberta": RobertaConfig,
    "roberta-prelayernorm": RobertaPreLayerNormConfig, "xlm-roberta": XLMRobertaConfig,
    "xlm-roberta-xl": XLMRobertaXLConfig,
}  # fmt: skip
_POSITIONS = {
    "relative_attention": True, "share_att_key": True, "pos_att_type": "p2c|c2p", "position_buckets": 6,
    "norm_rel_ebd": "layer_norm", "position_biased_input": False,
}  # fmt: skip
QUERIES_PER_HEAD = dict.fromkeys(
    ("cohere", "eurobert", "gemma", "gemma2", "gemma3_text", "granite", "llama", "mistral", "olmo", "phi3", "qwen3",
     "smollm3", "starcoder2", *TOGETHER), 2
)  # fmt: skip
EAGER = ("deberta-v2", "gemma2", "megatron-bert", "mpnet", "rembert")
"""Families without fused attention."""
_WINDOWS = {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 6}
_OWN = {
    "cohere": {"logit_scale": 0.7},
    "eurobert": {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "mask_token_id": 3},
    "gemma2": {
        **_WINDOWS, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 4.0,
    },
    "gemma3_text": {**_WINDOWS, "query_pre_attn_scalar": 8},
    "gpt_neox": {"rotary_pct": 0.5},
    "granite": {
        "embedding_multiplier": 1.5, "logits_scaling": 0.7, "residual_multiplier": 0.6, "attention_multiplier": 0.3,
    },
    "olmo": {"clip_qkv": 1.0},
    "olmo3": _WINDOWS,
    "phi3": {"partial_rotary_factor": 0.5, "sliding_window": 6, "rms_norm_eps": 1e-6},
    "opt": {"ffn_dim": 24},
    "smollm3": {**_WINDOWS, "use_sliding_window": True, "no_rope_layers": [0, 1, 0, 1]},
    "starcoder2": {"sliding_window": 6},
}  # fmt: skip
"""What a family has besides sizes; of lists with a value per layer the first ones are taken."""


def tiny_config(
    model_type: str = "bert", *, num_layers: int = 3, tied: bool = True, embedding_size: int = 20
) -> PreTrainedConfig:
    """4 heads of 8 features (with grouped queries: of 2 queries each), 24 neurons, 3 labels.

    Embeddings are as wide as the layers, but for those of ELECTRA and RemBERT.
    """
    shared = {
        "vocab_size": 60,
        "max_position_embeddings": 40,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: index for index, label in enumerate(LABELS)},
    }
    if model_type == "distilbert":
        return DistilBertConfig(dim=32, n_layers=num_layers, n_heads=4, hidden_dim=24, **shared)
    sizes = {"hidden_size": 32, "num_hidden_layers": num_layers, "num_attention_heads": 4}
    if family_named(model_type).generates:
        shared |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": tied}
    if model_type == "gpt2":
        return GPT2Config(n_inner=24, **sizes, **shared)
    sizes["intermediate_size"] = 24
    if model_type == "modernbert":
        special = {f"{name}_token_id": number for number, name in enumerate(("pad", "bos", "eos", "cls", "sep"))}
        return ModernBertConfig(global_attn_every_n_layers=2, local_attention=6, **special, **sizes, **shared)
    if model_type == "rembert":
        return RemBertConfig(input_embedding_size=embedding_size, output_embedding_size=20, **sizes, **shared)
    if model_type == "ernie":
        return ErnieConfig(use_task_id=True, **sizes, **shared)
    if model_type == "electra":
        return ElectraConfig(embedding_size=embedding_size, **sizes, **shared)
    if model_type == "deberta-v2":
        return DebertaV2Config(**_POSITIONS, **sizes, **shared)
    if model_type in _ENCODERS:
        return _ENCODERS[model_type](**sizes, **shared)
    if model_type not in FAMILIES:
        return AutoConfig.for_model(model_type, **sizes, **shared)  # another package's
    if model_type not in FILLING:
        queries = QUERIES_PER_HEAD.get(model_type, 1)
        sizes |= {"num_attention_heads": 4 * queries, "num_key_value_heads": 4, "head_dim": 8}
    own = {
        key: value[:num_layers] if isinstance(value, list) else value for key, value in _OWN.get(model_type, {}).items()
    }
    return AutoConfig.for_model(model_type, **sizes, **shared, **own)


def tiny_model(
    model_type: str = "bert", *, attention: str = "sdpa", seed: int = 0, num_layers: int = 3
) -> PreTrainedModel:
    """A classifier; weights and biases are drawn wide, so that a forgotten bias or mask shows in the logits."""
    config = tiny_config(model_type, num_layers=num_layers)
    config.architectures = ["ForSequenceClassification"]
    torch.manual_seed(seed)
    attention = "eager" if model_type in EAGER else attention
    return spread(AutoModelForSequenceClassification.from_config(config, attn_implementation=attention))


def tiny_generator(
    model_type: str = "llama", *, attention: str = "sdpa", seed: int = 0, tied: bool = True, num_layers: int = 3
) -> PreTrainedModel:
    """A causal language model, drawn alike."""
    config = tiny_config(model_type, num_layers=num_layers, tied=tied)
    torch.manual_seed(seed)
    attention = "eager" if model_type in EAGER else attention
    return spread(AutoModelForCausalLM.from_config(config, attn_implementation=attention))


def spread(model: PreTrainedModel) -> PreTrainedModel:
    """Draw weights wider, and make the model one that can be cut."""
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn_like(parameter))
    family_of(model).prepare_(model)
    return model.eval()


def skip_fixed_hidden_size(model_type: str) -> None:
    """Skip a test that cuts the hidden size of a family that has only one."""
    if is_hidden_size_fixed(model_type):
        pytest.skip("this hidden size cannot be cut")


def skip_without_classifier(model_type: str) -> None:
    """Skip a test of a classifier where transformers has none."""
    if model_type not in CLASSIFIER_TYPES:
        pytest.skip("transformers has no such classifier")


def heads_fill(model_type: str) -> bool:
    """Say whether plain transformers divides the hidden size evenly among the heads of a family."""
    family = family_named(model_type)
    return model_type in FILLING if isinstance(family, Decoder) else not getattr(family, "names_head_dim", False)


def is_hidden_size_fixed(model_type: str) -> bool:
    """Say whether a family has only one hidden size."""
    family = family_named(model_type)
    return isinstance(family, Decoder) and family.config.is_hidden_size_fixed


def some_masks(model: PreTrainedModel, *, seed: int = 0) -> Masks:
    """Another non-uniform choice in every layer; at least one of each kind stays."""
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> torch.Tensor:
        mask = torch.rand(count, generator=generator) > 0.4
        mask[int(torch.randint(count, (1,), generator=generator))] = True
        return mask

    widths = widths_of(model)
    return Masks(heads=tuple(map(draw, widths.heads)), ffn=tuple(map(draw, widths.ffn)))


def logits_of(model: PreTrainedModel) -> torch.Tensor:
    """Logits of three rows, one of them padded."""
    ids = torch.arange(5, 32).reshape(3, 9)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=mask).logits


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words; id 0 pads."""
    tokenizer = Tokenizer(WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )
