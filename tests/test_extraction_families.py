"""Families of networks as transformers has them: no weight matrix is lost, nor what follows one."""

import re
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from eiplane.analyze import Plan  # noqa: E402
from eiplane.extract import ExtractOptions, to_network  # noqa: E402
from eiplane.run import Settings  # noqa: E402

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 30,
         "intermediate_size": 24}  # fmt: skip

#: Model, configuration, and by the ends of names what follows; nothing follows the rest.
FAMILIES = {
    "Mixtral": ("MixtralForCausalLM", "MixtralConfig",
                {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "num_local_experts": 3},
                {r"gate_up_proj\[\d\]\[0:24\]": "silu"}),
    "T5": ("T5ForConditionalGeneration", "T5Config",
           {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2,
            "vocab_size": 30}, {r"DenseReluDense\.wi": "relu"}),
    "Mamba": ("MambaForCausalLM", "MambaConfig",
              {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 1, "time_step_rank": 4,
               "vocab_size": 30, "use_mambapy": False},
              {r"conv1d": "silu", r"in_proj\[32:64\]": "silu", r"dt_proj": "softplus"}),
    "Cohere": ("CohereForCausalLM", "CohereConfig",
               {**SMALL, "num_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 1,
                "eos_token_id": 2}, {r"mlp\.gate_proj": "silu"}),
}  # fmt: skip


def products(module, inputs):
    """Return the names of the parameters that an operator multiplies with, by their storages."""
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = set()

    class Products(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            name = func._schema.name.rpartition("::")[2]
            if name in ("mm", "addmm", "bmm", "baddbmm", "convolution", "mv") or "grouped" in name:
                seen.update(a.untyped_storage()._cdata for a in args
                            if isinstance(a, torch.Tensor) and a.ndim > 1)  # fmt: skip
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Products():
        module(**inputs)
    return {n for n, p in module.named_parameters() if p.untyped_storage()._cdata in seen}


@pytest.mark.parametrize("family", FAMILIES)
def test_no_matrix_is_lost(family):
    model, config, sizes, after = FAMILIES[family]
    torch.manual_seed(0)
    made = getattr(transformers, config)(**sizes)
    made.use_cache = False
    module = getattr(transformers, model)(made).eval()
    tokens = torch.from_numpy(np.random.default_rng(0).integers(3, 30, size=(3, 20)))
    inputs = {"input_ids": tokens}
    if family == "T5":
        inputs["decoder_input_ids"] = tokens[:, :7]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = to_network(module, ExtractOptions(input_data=inputs))
    names = [str(layer.name) for layer in found.network]
    bases = {re.sub(r"\[.*$", "", n) for n in names}
    tied = {id(p): [] for p in module.parameters()}
    for name, p in module.named_parameters(remove_duplicate=False):
        tied[id(p)].append(re.sub(r"\.weight$", "", name))
    wanted = [tied[id(module.get_parameter(n))] for n in products(module, inputs)]
    assert len(wanted) >= 6
    assert [t for t in wanted if not bases & set(t)] == []
    for layer in found.network:
        expected = next((a for p, a in after.items() if re.search(p + "$", layer.name)), "identity")
        assert layer.activation.name == expected, layer.name
    plan = Plan(found.network, Settings("sensitivity"))
    assert "assumed" not in {plan.range_source(i) for i in range(len(names))}
    behind_norms = [i for i, n in enumerate(names) if re.search(r"(q_proj|in_proj|\.q|lm_head)", n)]
    assert {plan.range_source(i) for i in behind_norms} == {"norm"}
