"""Which dtype the devices multiply fastest, told from what they say of themselves, and where a run
keeps it.
"""

from types import SimpleNamespace

import jax
import pytest

from jaxcap import devices, train
from jaxcap.experiment import restore as runs
from jaxcap.experiment import workdir
from tests import small_run

COMMON = "fpu vme sse2 avx avx2 fma"
PROCESSORS = {
    "Zen 3": (f"flags\t\t: {COMMON} sha_ni vaes\n", "float32"),
    "Zen 4": (f"flags\t\t: {COMMON} avx512f avx512_vnni avx512_bf16\n", "float32"),
    "Ice Lake": (f"flags\t\t: {COMMON} avx512f avx512_vnni\n", "float32"),
    "Sapphire Rapids": (
        f"flags\t\t: {COMMON} avx512f avx512_bf16 amx_bf16 amx_tile amx_int8\n",
        "bfloat16",
    ),
    "AMX of integers only": (f"flags\t\t: {COMMON} amx_tile amx_int8\n", "float32"),
    "a name like a flag": (f"model name\t: amx_bf16\nflags\t\t: {COMMON}\n", "float32"),
    "Graviton 3": ("processor\t: 0\nFeatures\t: fp asimd sve i8mm bf16\n", "float32"),
    "no list": ("", "float32"),
}


def use(monkeypatch, platform, multiplies=True, **attributes):
    device = SimpleNamespace(platform=platform, **attributes)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: multiplies)


@pytest.mark.parametrize(("text", "expected"), PROCESSORS.values(), ids=PROCESSORS)
def test_a_processor_takes_bfloat16_where_it_has_amx_for_it(text, expected, monkeypatch, tmp_path):
    use(monkeypatch, "cpu")
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\n{text}", encoding="utf-8")
    monkeypatch.setattr(devices, "CPU_INFO", info)
    assert devices.fastest_dtype() == expected


def test_a_processor_that_tells_nothing_takes_float32(monkeypatch, tmp_path):
    """As on macOS and Windows."""
    use(monkeypatch, "cpu")
    monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "absent")
    assert devices.fastest_dtype() == "float32"


@pytest.mark.parametrize(
    ("platform", "attributes", "expected"),
    [
        ("gpu", {"device_kind": "Tesla T4", "compute_capability": "7.5"}, "float32"),
        ("gpu", {"device_kind": "Tesla V100-SXM2-16GB", "compute_capability": "7.0"}, "float32"),
        ("gpu", {"device_kind": "NVIDIA A100-SXM4-40GB", "compute_capability": "8.0"}, "bfloat16"),
        ("gpu", {"device_kind": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0"}, "bfloat16"),
        ("gpu", {"device_kind": "NVIDIA B200", "compute_capability": "10.0"}, "bfloat16"),
        ("gpu", {"device_kind": "AMD Instinct MI250X", "compute_capability": "gfx90a"}, "float32"),
        ("gpu", {"device_kind": "unknown"}, "float32"),
        *(
            ("tpu", {"device_kind": f"TPU {name}"}, "bfloat16")
            for name in ("v2", "v3", "v4", "v5 lite", "v5p")
        ),
        ("METAL", {"device_kind": "Metal"}, "float32"),
    ],
)
def test_an_accelerator_takes_bfloat16_where_it_has_units_for_it(
    monkeypatch, platform, attributes, expected
):
    use(monkeypatch, platform, **attributes)
    assert devices.fastest_dtype() == expected


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_a_jaxlib_that_cannot_multiply_bfloat16_takes_float32(monkeypatch, tmp_path, platform):
    use(monkeypatch, platform, multiplies=False)
    info = tmp_path / "cpuinfo"
    info.write_text("flags\t\t: amx_bf16\n", encoding="utf-8")
    monkeypatch.setattr(devices, "CPU_INFO", info)
    assert devices.fastest_dtype() == "float32"


@pytest.fixture
def decoded(tmp_path, monkeypatch):
    """A run of dtypes auto on a machine that takes bfloat16, then carried to one that takes
    float32.
    """
    monkeypatch.setenv("JAXCAP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(devices, "fastest_dtype", lambda: "bfloat16")
    folder = small_run.make(tmp_path / "run", decoder__dtype="auto", encoder__dtype="auto")
    monkeypatch.setattr(devices, "fastest_dtype", lambda: "float32")
    return folder


def test_what_auto_meant_stays_with_the_run(decoded, monkeypatch, capsys):
    model = runs.restore_best(decoded).model
    assert model.decoder.dtype == "bfloat16"
    assert model.encoder.backbone.arithmetic.dtype == "bfloat16"
    resumed = []
    monkeypatch.setattr(
        train, "train", lambda run, folder, resuming: resumed.append((run, resuming)) or 0
    )
    values = small_run.SMALL | {"decoder.dtype": "auto", "encoder.dtype": "auto"}
    command = ["--config", str(small_run.QUICKSTART), "--workdir", str(decoded)]
    assert (
        train.main([*command, *(f"--config.{key}={value}" for key, value in values.items())]) == 0
    )
    run, resuming = resumed[0]
    assert resuming
    assert run.model.decoder.dtype == "bfloat16"
    assert run.model.encoder.backbone.arithmetic.dtype == "bfloat16"
    out = capsys.readouterr().out
    assert "the decoder's products in bfloat16, the encoder's in bfloat16" in out
    assert workdir.load_config(decoded).decoder.dtype == "auto"
