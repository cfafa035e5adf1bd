"""Laws of the runtime: images from latents, codes from images, files refused."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import infogan_export
from infogan_export import batches, runtime
from infogan_export.batches import PAYS, SHARE
from infogan_export.errors import (
    CodeError,
    InfoganError,
    ModelError,
    ProviderError,
    UsageError,
)
from infogan_export.external_data import _HOLDS, has_external_data
from infogan_export.graph import open_graph
from infogan_export.latent import LatentSpec, Noise, UniformCode
from infogan_export.metadata import KEY, ModelMetadata
from infogan_export.threads import usable_cpus

MANY = 300  # more than one batch


@pytest.fixture(scope="module")
def model(tiny):
    return infogan_export.load(tiny)


@pytest.fixture
def folder(tiny, tmp_path):
    """A copy of the tiny model to damage."""
    return shutil.copytree(tiny.parent, tmp_path / "model")


# --- images -------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 256, 10**6])
@pytest.mark.parametrize("count", [0, 5, MANY])
def test_a_stream_is_the_sample_in_parts(model, count, batch_size):
    asked = {"seed": 3, "start": 2, "shape": "cross"}
    parts = list(model.stream(count, batch_size=batch_size, **asked))
    assert all(len(part) <= batch_size for part in parts)
    together = np.concatenate([model.sample(0), *parts])
    np.testing.assert_array_equal(together, model.sample(count, **asked))


def test_an_image_does_not_depend_on_those_drawn_with_it(model):
    latents = model.latents(MANY, seed=8)
    images = model.draw(latents)
    exact = model.draw(latents, dtype="float32")
    assert images.shape == exact.shape == (MANY, 8, 8)
    for i in (0, 100, 255, 256, MANY - 1):
        np.testing.assert_array_equal(model.draw(latents[i])[0], images[i])
        alone = model.draw(latents[i], dtype="float32")[0]
        np.testing.assert_allclose(alone, exact[i], atol=1e-6)
    np.testing.assert_array_equal(model.sample(1, seed=8, start=299)[0], images[299])


def test_grey_levels_are_the_floats_rounded(model):
    latents = model.latents(20)
    exact = model.draw(latents, dtype="float32")
    assert exact.dtype == np.float32
    assert 0 <= exact.min() < exact.max() <= 1
    np.testing.assert_array_equal(model.draw(latents), np.rint(exact * 255))
    with pytest.raises(UsageError, match="'float64'"):
        model.draw(latents, dtype="float64")


def test_codes_are_set_by_name_alias_or_label(model):
    by_name = model.sample(3, shape=[0, 1, 2], slant=0.5)
    np.testing.assert_array_equal(
        by_name, model.sample(cat=["bar", "dash", "cross"], cont1=0.5)
    )
    assert len(model.sample()) == 1
    assert model.sample(slant=[]).shape == (0, 8, 8)
    with pytest.raises(CodeError, match=r"'slant'.*2 are needed, .*0.1, 0.2, 0.3"):
        model.sample(2, slant=[0.1, 0.2, 0.3])
    with pytest.raises(CodeError, match="'tilt'"):
        model.sample(2, tilt=1)
    with pytest.raises(UsageError, match="-1"):
        model.sample(-1)


def test_a_stream_refuses_before_its_first_batch(model):
    for asked, told in [
        ({"count": -1}, "-1"),
        ({"count": 1, "batch_size": 0}, "got 0"),
        ({"count": 2, "slant": [0, 1]}, "one value"),
        ({"count": 1, "tilt": 0}, "'tilt'"),
    ]:
        with pytest.raises(UsageError, match=told):
            model.stream(**asked)


@pytest.mark.filterwarnings("error")
def test_latents_that_cannot_be_drawn_are_refused(model):
    with pytest.raises(CodeError, match=r"\(n, 9\)"):
        model.draw(np.zeros((2, 8)))
    for value in (np.nan, np.inf, 1e300):
        with pytest.raises(CodeError, match="row 0 holds NaN or infinity"):
            model.draw(np.full(9, value))


def test_traverse_holds_the_rest_of_each_row(model):
    images = model.traverse("slant", steps=5, low=-1, high=1, rows=3, seed=2, cat=1)
    assert images.shape == (3, 5, 8, 8)
    at_high = model.sample(3, seed=2, shape=1, slant=1.0)
    np.testing.assert_array_equal(images[:, -1], at_high)
    assert model.traverse("cat").shape == (1, 3, 8, 8)
    assert model.traverse("cat", rows=0).shape == (0, 3, 8, 8)
    with pytest.raises(CodeError, match="'cat' is swept"):
        model.traverse("cat", shape=1)


def test_interpolate_includes_both_ends(model):
    ends = model.latents(2, seed=5)
    images = model.interpolate(*ends, steps=4)
    np.testing.assert_array_equal(images[[0, -1]], model.draw(ends))
    for steps in (-1, 1):
        with pytest.raises(UsageError, match=f"2 steps or more.*{steps}"):
            model.interpolate(*ends, steps=steps)
        with pytest.raises(UsageError, match=f"2 steps or more.*{steps}"):
            model.morph(*images[:2], steps=steps)


# --- recognition --------------------------------------------------------------


def test_recognition_inverts_generation(model):
    asked = {"cat": np.arange(MANY) % 3, "slant": np.linspace(-1, 1, MANY)}
    images = model.draw(model.latents(**asked), dtype="float32")
    found = model.recognize(images)
    shape, slant = found["shape"], found["cont1"]
    np.testing.assert_array_equal(shape.category, asked["cat"])
    np.testing.assert_allclose(shape.probabilities.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(slant.mean, asked["slant"], atol=0.05)
    assert shape.labels == ("bar", "dash", "cross")
    arrays = {(MANY, 3): shape.probabilities, (MANY,): slant.mean}
    for size, array in [*arrays.items(), ((MANY,), slant.deviation)]:
        assert (array.shape, array.dtype) == (size, np.float32)
    assert found.logit.shape == (MANY,)
    with pytest.raises(CodeError, match=r"'tilt'.*shape, slant, thickness"):
        found["tilt"]


def test_images_are_recognized_in_any_of_their_forms(model):
    grey = model.sample(2)
    expected = model.recognize(grey).logit
    for same in (grey[..., None], grey / 255.0, (grey / 255.0).astype(np.float32)):
        np.testing.assert_allclose(model.recognize(same).logit, expected, atol=1e-6)
    np.testing.assert_allclose(model.recognize(grey[0]).logit, expected[:1], atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((2, 9, 8), np.uint8), r"8x8 with 1 channel.*\(2, 9, 8\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"\(2, 8, 8, 3\)"),
        (np.zeros((0, 8, 8), np.uint8), "no images"),
        (np.zeros((2, 8, 8), np.int64), "int64"),
        (np.full((8, 8), 1.5), "0 to 1"),
        (np.full((8, 8), np.nan), "0 to 1"),
        (np.full((8, 8), 1e300), "0 to 1"),
        ("picture.png", r"got an array \(\)"),
        (None, r"got an array \(\)"),
    ],
)
def test_what_is_no_image_of_this_model_is_refused(model, images, told):
    with pytest.raises(UsageError, match=told):
        model.recognize(images)


@pytest.mark.filterwarnings("ignore:.*ragged")  # numpy before 1.24 only warns
def test_images_of_different_sizes_are_refused(model):
    with pytest.raises(UsageError, match=r"same size|got an array"):
        model.recognize([[1], [1, 2]])


def test_a_generator_alone_draws_but_does_not_recognize(folder):
    (folder / "recognition.onnx").unlink()
    alone = infogan_export.load(folder)
    with pytest.raises(ModelError, match=r"no recognition network.*recognition.onnx"):
        alone.recognize(alone.sample(1))


def test_the_recognition_network_of_another_generator_is_refused(folder):
    edit(folder / "recognition.onnx", spec={"noise": {"size": 5}})
    with pytest.raises(ModelError, match="belongs to another generator"):
        infogan_export.load(folder).recognize(np.zeros((8, 8)))


# --- sessions, threads, providers ---------------------------------------------


def test_a_model_may_be_shared_between_threads(tiny):
    shared = infogan_export.load(tiny)

    def work(seed):
        images = shared.sample(40, seed=seed)
        return images, shared.recognize(images).logit

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, range(24)))
    for (images, logit), (one, its) in zip(together, map(work, range(24)), strict=True):
        np.testing.assert_array_equal(images, one)
        np.testing.assert_allclose(logit, its, atol=1e-6)


def test_threads_and_sessions_change_no_image(model, tiny):
    own = onnxruntime.SessionOptions()
    own.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tiny, providers=["CPUExecutionProvider"])
    expected = model.sample(9)
    for same in (
        infogan_export.load(str(tiny), threads=2),
        infogan_export.load(tiny, session_options=own),
        infogan_export.load(tiny, providers=["CPUExecutionProvider"]),
        infogan_export.load(tiny, providers="CPUExecutionProvider"),
        infogan_export.load(session),
    ):
        np.testing.assert_array_equal(same.sample(9), expected)
        assert same.name == "tiny"
    assert infogan_export.load(session).sha256 == ""


def test_a_model_that_has_drawn_leaves_the_cpus_alone(tiny):
    model = infogan_export.load(tiny, threads=2)
    model.sample(SHARE)
    began = time.process_time()
    time.sleep(0.1)
    assert time.process_time() - began < 0.02


def test_many_images_are_the_same_whoever_shares_them(tiny):
    alone, shared = (
        infogan_export.load(tiny, threads=1),
        infogan_export.load(tiny, threads=3),
    )
    latents = alone.latents(PAYS, seed=4)
    images = alone.draw(latents)
    for count in (PAYS, 1, 2 * SHARE - 1, 2 * SHARE, MANY, PAYS):
        np.testing.assert_array_equal(shared.draw(latents[:count]), images[:count])


def test_a_second_session_is_opened_for_many_images_of_a_light_graph(tiny, monkeypatch):
    opened = []

    def recorded(path, role, options, **more):
        opened.append(options.threads)
        return open_graph(path, role, options, **more)

    monkeypatch.setattr(runtime, "open_graph", recorded)
    model = infogan_export.load(tiny, threads=2)
    for _ in range(PAYS // SHARE + 1):
        model.sample(SHARE)
    assert opened == [2]
    for _ in range(PAYS // (2 * SHARE) + 1):
        model.sample(2 * SHARE)
    assert opened == [2, 1]
    for options in ({"threads": 1}, {"session_options": onnxruntime.SessionOptions()}):
        opened.clear()
        infogan_export.load(tiny, **options).sample(PAYS)
        assert len(opened) == 1
    opened.clear()
    monkeypatch.setattr(batches, "LIGHT", tiny.stat().st_size - 1)  # too heavy a graph
    infogan_export.load(tiny, threads=2).sample(PAYS)
    assert opened == [2]


@pytest.mark.parametrize("gone", [True, False])
def test_a_file_removed_or_replaced_since_changes_no_image(tiny, folder, gone):
    path, images = folder / "generator.onnx", infogan_export.load(tiny).sample(PAYS)
    model = infogan_export.load(folder, threads=2)
    path.unlink() if gone else path.write_bytes(b"another")
    for _ in range(2):
        np.testing.assert_array_equal(model.sample(PAYS), images)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_model_that_shares_images_draws_on_after_a_fork(tiny):
    program = f"""
import os, signal, infogan_export
model = infogan_export.load({str(tiny)!r}, threads=2)
model.sample({PAYS})
if child := os.fork():
    assert os.waitpid(child, 0)[1] == 0
else:
    signal.alarm(20)
    model.sample({PAYS})
    os._exit(0)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_options_that_contradict_or_cannot_be_are_refused(tiny):
    own = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(tiny, providers=["CPUExecutionProvider"])
    for source, options, told in [
        (tiny, {"threads": 0}, "at least 1, got 0"),
        (tiny, {"threads": 1, "session_options": own}, "not both"),
        (session, {"threads": 1}, "its own options"),
    ]:
        with pytest.raises(UsageError, match=told):
            infogan_export.load(source, **options)


def test_a_provider_that_is_missing_is_named_beside_those_there_are(tiny):
    for providers in ([], ["MoonExecutionProvider"], "MoonExecutionProvider"):
        with pytest.raises(
            ProviderError, match=r"has .*CPUExecutionProvider"
        ) as caught:
            infogan_export.load(tiny, providers=providers)
        assert not providers or "'MoonExecutionProvider'" in str(caught.value)


# --- files that are not ours --------------------------------------------------


def field(number, value):
    """One field of a protobuf message: bytes, or a whole number."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def without_metadata(content):
    """A model's bytes without its last field, and the metadata in that."""
    key = content.index(field(1, KEY.encode()))
    start = content.rindex(varint(14 << 3 | 2), 0, key)
    return content[:start], json.loads(content[content.index(b"{", key) :])


def edit(path, **changes):
    """Change the metadata of a file; a change of a mapping is merged into it."""
    content, metadata = without_metadata(path.read_bytes())
    for key, value in changes.items():
        merge = isinstance(value, dict) and isinstance(metadata.get(key), dict)
        metadata[key] = metadata[key] | value if merge else value
    text = json.dumps(metadata).encode()
    entry = field(1, KEY.encode()) + field(2, text)
    path.write_bytes(content + field(14, entry))


def refusal(path):
    with pytest.raises(ModelError) as caught:
        infogan_export.load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_metadata_survives_a_round_trip(model):
    text = model.metadata.to_json()
    assert ModelMetadata.from_json(text, source="it") == model.metadata


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format_version": 2}, "format version 2, this package reads 1; upgrade"),
        ({"role": "oracle"}, "unknown role 'oracle'"),
        ({"role": "recognition"}, "holds a recognition, not a generator"),
        ({"spec": None}, "incomplete metadata"),
        ({"spec": {"codes": [{"kind": "uniform"}]}}, "incomplete metadata"),
        ({"image_shape": [8, 8]}, "incomplete metadata"),
        ({"image_shape": [3, 8, 8]}, "lacks the output 'image', batch x 3 x 8 x 8"),
        ({"spec": {"noise": {"size": 7}}}, "lacks the input 'noise', batch x 7"),
    ],
)
def test_metadata_of_another_kind_is_refused(folder, changes, told):
    path = folder / "generator.onnx"
    edit(path, **changes)
    assert told in refusal(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", "null"])
def test_metadata_that_is_not_readable_is_refused(text):
    with pytest.raises(ModelError, match="it: its infogan-export metadata"):
        ModelMetadata.from_json(text, source="it")


def test_a_foreign_model_is_refused_with_what_is_missing(folder):
    path = folder / "generator.onnx"
    path.write_bytes(without_metadata(path.read_bytes())[0])
    assert "no 'infogan-export' metadata" in refusal(path)


def test_a_recognition_network_is_no_generator(tiny):
    path = tiny.with_name("recognition.onnx")
    assert "holds a recognition, not a generator" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"This is a text.\n" * 9, b"\x00" * 64])
def test_what_is_no_onnx_file_is_refused(folder, content, capfd):
    path = folder / "generator.onnx"
    path.write_bytes(content)
    assert "is not an ONNX model" in refusal(path)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_or_flipped_file_is_refused_or_still_runs(folder, capfd):
    rng = random.Random(0)
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    refused = 0
    for _ in range(150):
        path = rng.choice(sorted(whole))
        damaged = bytearray(whole[path])
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        else:
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            its = infogan_export.load(folder, threads=1)
            its.recognize(np.full((2, *its.draw(its.latents(1)).shape[1:]), 0.5))
        except InfoganError as error:
            refused += 1
            assert "\n" not in str(error)
        path.write_bytes(whole[path])
    assert 40 < refused < 150
    assert capfd.readouterr() == ("", "")


TENSOR = field(1, 2) + field(2, 1) + field(8, b"w") + field(14, 1)


def external(location):
    return TENSOR + field(13, field(1, b"location") + field(2, location.encode()))


@pytest.mark.parametrize("where", ["{}", "../{}", "/{}", "{folder}/{}"])
def test_weights_in_other_files_are_refused(folder, where, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "w.bin").write_bytes(bytes(8))
    path = folder / "generator.onnx"
    tensor = external(where.format("w.bin", folder=folder))
    path.write_bytes(path.read_bytes() + field(7, field(5, tensor)))
    assert "keeps weights in other files" in refusal(path)


def test_weights_in_other_files_are_found_wherever_a_tensor_stands(tiny):
    content = tiny.read_bytes()
    assert not has_external_data(content)
    assert not has_external_data(content + field(7, field(5, TENSOR)))
    hidden = external("w")
    in_attribute = field(1, field(5, field(5, hidden)))
    in_subgraph = field(1, field(5, field(6, field(5, hidden))))
    in_sparse = field(15, field(1, hidden))
    for graph in (field(5, hidden), in_attribute, in_subgraph, in_sparse):
        assert has_external_data(content + field(7, graph))
        # A tag's bits above its 32nd are dropped by protobuf: here 2^32 + 58.
        overlong = b"\xba\x80\x80\x80\x10" + varint(len(graph)) + graph
        assert has_external_data(content + overlong)
    assert has_external_data(content + field(25, field(7, field(5, field(5, hidden)))))


def test_the_messages_that_hold_tensors_are_those_of_onnx():
    onnx = pytest.importorskip("onnx")
    found, pending = {}, [onnx.ModelProto.DESCRIPTOR]
    while pending:
        message = pending.pop()
        inner = [f for f in message.fields if f.message_type is not None]
        found[message.name] = {f.number: f.message_type.name for f in inner}
        pending += [f.message_type for f in inner if f.message_type.name not in found]
    holders = {"TensorProto"}
    while more := {k for k, v in found.items() if holders & {*v.values()}} - holders:
        holders |= more
    assert {
        name: {n: kind for n, kind in found[name].items() if kind in holders}
        for name in holders
    } == _HOLDS


@settings(deadline=None, max_examples=50)
@given(st.binary())
def test_any_bytes_are_walked_or_refused(content):
    try:
        has_external_data(content)
    except ValueError as error:
        assert str(error)


def test_a_colour_model_draws_and_reads_channels_last():
    generator = ready_session(
        spec=LatentSpec(Noise(3), (UniformCode("hue"),)), shape=(3, 2, 4)
    )
    images = infogan_export.load(generator).sample(5, hue=0.5)
    assert images.shape == (5, 2, 4, 3)
    assert images[0, 0, 0].tolist() == [0, 51, 102]


def ready_session(spec, shape):
    """A session that draws channel k at a level of k / 5."""
    metadata = ModelMetadata("flat", "generator", shape, spec)

    def run(names, inputs):
        channels = np.arange(shape[0], dtype=np.float32).reshape(1, -1, 1, 1) / 5
        return [np.broadcast_to(channels, (len(inputs["noise"]), *shape)).copy()]

    def tensor(name, *sizes):
        return SimpleNamespace(name=name, shape=["batch", *sizes])

    return SimpleNamespace(
        get_modelmeta=lambda: SimpleNamespace(
            custom_metadata_map={KEY: metadata.to_json()}
        ),
        get_inputs=lambda: [
            tensor("noise", spec.noise_dim),
            tensor("code", spec.code_dim),
        ],
        get_outputs=lambda: [tensor("image", *shape)],
        run=run,
    )


# --- how many CPUs ------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "membership", "cpus"),
    [
        ({}, "", 8),
        ({"cpu.max": "max 100000"}, "0::/", 8),
        ({"cpu.max": "150000 100000"}, "0::/", 2),
        ({"cpu.max": "5000 100000"}, "0::/", 1),
        ({"cpu.max": "3200000 100000"}, "0::/", 8),
        ({"a/b/cpu.max": "300000 100000", "a/cpu.max": "max 100000"}, "0::/a/b", 3),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b", 2),
        ({"cpu.max": "400000 100000"}, "0::/not/mounted/here", 4),
        ({"cpu.max": "nonsense"}, "0::/", 8),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "", 8),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "", 3),
        (
            {"cpu/x/cpu.cfs_quota_us": "100000", "cpu/x/cpu.cfs_period_us": "100000"},
            "4:memory:/y\n3:cpu,cpuacct:/x\n0::/",
            1,
        ),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "0"}, "", 8),
    ],
)
def test_cpus_are_those_of_affinity_and_cgroup_quota(
    tmp_path, monkeypatch, files, membership, cpus
):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, text in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (tmp_path / "membership").write_text(membership + "\n" if membership else "")
    assert usable_cpus(tmp_path / "mount", tmp_path / "membership") == cpus


def test_without_affinity_or_cgroups_the_machine_is_counted(tmp_path, monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert usable_cpus(tmp_path, tmp_path / "none") == 6
