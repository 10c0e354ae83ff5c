"""Every kind of fault that extraction once had, and tests of at least two of its members.

``TESTED`` names them, with what each is held against: a sweep through the module itself
(``sweep``), numbers that the module or its library computes (``numbers``), or intervals written out
by hand (``intervals``). None of it is eiplane's. Here it is held that they exist.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent

#: By kind: what its tests are held against, and their ids.
TESTED = {
    "view after a convolution": (
        "sweep",
        "test_extraction_members.py::test_of_views[unfolded]",
        "test_extraction_members.py::test_of_views[channels]",
        "test_extraction_kinds.py::test_views_after_a_convolution",
    ),
    "operators that a function mode does not see": (
        "sweep",
        "test_extraction_kinds.py::test_what_follows_a_layer[script]",
        "test_extraction_kinds.py::test_what_follows_a_layer[autograd function]",
        "test_extraction_members.py::test_what_follows_a_layer[of unseen: vmap]",
    ),
    "writes through views": (
        "sweep",
        "test_extraction_kinds.py::test_what_follows_a_layer[view relu]",
        "test_extraction_kinds.py::test_what_follows_a_layer[data]",
        "test_extraction_members.py::test_what_follows_a_layer[of writes: leaky]",
    ),
    "one number per neuron": (
        "sweep",
        "test_extraction_kinds.py::test_what_follows_a_layer[threshold]",
        "test_extraction_kinds.py::test_what_follows_a_layer[slopes]",
        "test_onnx_kinds.py::test_one_number_for_each_neuron[temperature]",
    ),
    "the wrong category": (
        "sweep",
        "test_extraction_kinds.py::test_what_follows_a_layer[masked fill]",
        "test_extraction_kinds.py::test_what_follows_a_layer[step]",
        "test_extraction_members.py::test_what_follows_a_layer[of categories: half]",
    ),
    "watching": (
        "sweep",
        "test_extraction_kinds.py::test_what_follows_a_layer[log]",
        "test_extraction_kinds.py::test_what_follows_a_layer[sorted]",
        "test_extraction_members.py::test_of_watching_a_use_that_leads_nowhere_is_none",
    ),
    "probes too regular": (
        "sweep",
        "test_extraction_kinds.py::test_what_follows_a_layer[hardshrink]",
        "test_extraction_kinds.py::test_what_follows_a_layer[fixed point]",
        "test_extraction_hostile.py::test_of_probes_what_lies_between_them",
    ),
    "ranges": (
        "intervals",
        "test_extraction_by_hand.py::test_the_convolutional_network_of_the_tutorials",
        "test_extraction_by_hand.py::test_a_block_of_a_resnet",
        "test_extraction_by_hand.py::test_a_block_of_a_transformer",
        "test_extraction_kinds.py::test_batch_norm_between_layers",
    ),
    "written-out norms": (
        "intervals",
        "test_extraction_kinds.py::test_norms_written_out",
        "test_extraction_kinds.py::test_a_norm_that_subtracts_its_mean_twice",
        "test_extraction_hostile.py::test_of_norms_with_a_gain_before_the_length",
    ),
    "experts": (
        "sweep",
        "test_extraction_members.py::test_of_experts[where]",
        "test_extraction_members.py::test_of_experts[mask]",
        "test_extraction_kinds.py::test_experts_in_one_grouped_product",
    ),
    "named as skipped although analysed": (
        "sweep",
        "test_extraction_members.py::test_of_made_weights[spectral norm]",
        "test_extraction_members.py::test_of_made_weights[rotation]",
        "test_extraction_kinds.py::test_parametrised_weights_are_not_listed",
    ),
    "recurrent by hand": (
        "numbers",
        "test_extraction_kinds.py::test_recurrent_by_hand",
        "test_extraction_members.py::test_of_loops_ranges_are_those_of_all_uses",
    ),
    "cat of unlike ranges": (
        "intervals",
        "test_extraction_kinds.py::test_embedding_cat_and_softmax",
        "test_extraction_members.py::test_of_cat_recurrent_outputs_and_inputs",
    ),
    "LoRA, parallel maps": (
        "sweep",
        "test_extraction_sums.py::test_a_sum_of_maps_is_one_layer_beside_its_parts",
        "test_extraction_members.py::test_of_sums_of_maps_that_are_stacked",
    ),
    "quantisation aware training": (
        "sweep",
        "test_extraction_parts.py::test_of_quantisation_a_prepared_module_has_its_sensitivity",
        "test_extraction_parts.py::test_of_quantisation_a_convolution_and_its_batch_norm",
        "test_extraction_parts.py::test_of_quantisation_learnt_steps",
        "test_extraction_members.py::test_what_follows_a_layer[of rounding: channels]",
        "test_extraction_kinds.py::test_quantisation_aware_training",
    ),
    "files: orientation": (
        "numbers",
        "test_file_kinds.py::test_kernels_have_their_outputs_last[dots]",
        "test_file_kinds.py::test_gpt2_keeps_its_weights_the_other_way_round",
    ),
    "files: reparametrised": (
        "numbers",
        "test_file_kinds.py::test_reparametrised_weights_are_the_module_s",
        "test_extraction_members.py::test_of_files_reparametrised_members[both norms]",
    ),
    "files: helpers": (
        "numbers",
        "test_file_kinds.py::test_of_a_model_s_parameters_exactly_the_linear_maps_are_layers",
        "test_file_kinds.py::test_helper_tensors_are_listed",
        "test_extraction_members.py::test_of_files_tables_stacks_and_products_are_listed",
    ),
    "files: checkpoints": (
        "numbers",
        "test_file_kinds.py::test_a_checkpoint_s_state_dict_is_found",
        "test_file_kinds.py::test_key_chooses_among_several_networks",
    ),
    "files: recurrent, transposed": (
        "numbers",
        "test_file_kinds.py::test_gates_are_those_of_the_module[LSTM]",
        "test_file_kinds.py::test_the_gates_of_an_lstm_give_its_next_state",
        "test_file_kinds.py::test_transposed_convolutions_are_listed",
    ),
    "ONNX": (
        "numbers",
        "test_onnx_files.py::test_sizes_of_minus_one_and_names",
        "test_onnx_files.py::test_several_inputs",
        "test_onnx_files.py::test_quantised_weights_and_activations",
        "test_onnx_files.py::test_a_constant_if_is_its_branch",
        "test_onnx_quantised.py::test_a_dynamically_quantised_product_is_the_product",
    ),
    "programs": (
        "sweep",
        "test_programs.py::test_exported_programs[conv]",
        "test_programs.py::test_graphs_of_fx[tokens]",
        "test_programs.py::test_a_program_of_its_own_against_a_sweep",
    ),
    "overflow": (
        "numbers",
        "test_extremes.py::test_products_that_leave_float64[relu]",
        "test_extremes.py::test_weights_of_every_size",
    ),
    "containers": (
        "numbers",
        "test_track.py::test_a_tracker_is_true_before_its_first_record",
        "test_extraction_members.py::test_of_containers",
    ),
    "resuming": (
        "numbers",
        "test_track.py::test_another_architecture_is_another_run",
        "test_track.py::test_other_options_are_another_run",
    ),
}


@cache
def written(name):
    """Return a file's tests, each with whether it asserts, and its words that may be parameters."""
    tree = ast.parse((HERE / name).read_text(encoding="utf-8"))
    words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    tests = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    return tests, words


def holds(test, tests):
    """Return whether a test asserts something, itself or by a helper of its file or of others."""
    calls = {getattr(n.func, "id", getattr(n.func, "attr", "")) for n in ast.walk(test)
             if isinstance(n, ast.Call)}  # fmt: skip
    if any(isinstance(n, ast.Assert) for n in ast.walk(test)):
        return True
    if calls & {"check", "raises", "assert_allclose", "assert_array_equal"}:
        return True
    return any(holds(tests[c], tests) for c in calls & set(tests) if tests[c] is not test)


@pytest.mark.parametrize("kind", TESTED)
def test_a_kind_has_tests_of_two_members(kind):
    against, *ids = TESTED[kind]
    assert against in ("sweep", "numbers", "intervals")
    assert len(set(ids)) >= 2
    for one in ids:
        name, function, parameter = re.fullmatch(
            r"(\w+\.py)::(test_\w+)(?:\[(.+)\])?", one
        ).groups()
        tests, words = written(name)
        assert function in tests, one
        assert parameter is None or parameter in words, one
        assert holds(tests[function], tests), one


def test_no_kind_is_missing():
    assert len(TESTED) == 25
