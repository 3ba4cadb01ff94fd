# SPDX-License-Identifier: Apache-2.0
"""The Python client's bytes: what it sends is what the header says, and what it cannot send it refuses in words."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import numpy as np
import pytest
import vexfs
from hypothesis import given
from hypothesis import strategies as st

from tests.format_layout import NUMBERS, UAPI

pytestmark = pytest.mark.unit


def test_sizes_and_numbers_are_the_headers() -> None:
    sizes = {
        "vexfs_ioc_info": vexfs._INFO.size,
        "vexfs_ioc_collection": vexfs._COLLECTION.size,
        "vexfs_ioc_batch": vexfs._SIZE,
        "vexfs_hit": vexfs._HIT.itemsize,
        "vexfs_ioc_search": vexfs._SEARCH.size + vexfs._HIT.itemsize * vexfs.K_MAX,
    }
    assert sizes == {name: size for name, (size, _) in UAPI.items()}
    assert vexfs._BATCH.size == UAPI["vexfs_ioc_batch"][1]["data"] and vexfs._SEARCH.size == UAPI["vexfs_ioc_search"][1]["u"]
    names = {"COLLECTION_CREATE": "CREATE", "COLLECTION_GET": "GET"}
    for name, (way, number, struct_name) in NUMBERS.items():
        short = name.removeprefix("VEXFS_IOC_")
        assert getattr(vexfs, f"_IOC_{names.get(short, short)}") == way << 30 | UAPI[struct_name][0] << 16 | ord("V") << 8 | number


@given(st.integers(1, vexfs.DIMENSION_MAX), st.data())
def test_a_batch_holds_keys_then_vectors(dimension: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, vexfs.batch_size(dimension)))
    keys = np.arange(count, dtype=np.uint64) + 7
    vectors = np.arange(count * dimension, dtype=np.float32).reshape(count, dimension)
    packed = vexfs.pack_batch(keys, vectors, dimension, 1, 0o640)
    assert len(packed) == 16320
    assert struct.unpack_from("=IIIiII", packed) == (dimension, count, 0, 0, 1, 0o640)
    assert not any(packed[24:64]), "reserved"
    assert packed[64 : 64 + 8 * count] == keys.tobytes()
    behind = 64 + 8 * count + 4 * dimension * count
    assert packed[64 + 8 * count : behind] == vectors.tobytes() and not any(packed[behind:])


def test_a_batch_that_is_too_large_is_refused() -> None:
    assert [vexfs.batch_size(d) for d in (1, 128, 2048)] == [1354, 31, 1]
    with pytest.raises(ValueError, match=r"32 entries of dimension 128 do not fit one call: at most 31"):
        vexfs.pack_batch(np.zeros(32, np.uint64), np.zeros((32, 128), np.float32), 128)


def test_a_search_says_where_to_go_on_and_hits_come_back() -> None:
    packed = vexfs.pack_search(np.array([1.5, -2], np.float32), 9, (77, 0.25))
    assert struct.unpack_from("=IIIIQd", packed) == (2, 9, 1, 0, 77, 0.25)
    assert struct.unpack_from("=2f", packed, 64) == (1.5, -2)
    assert struct.unpack_from("=IIIIQQ", vexfs.pack_search(np.zeros(3, np.float32), 1)) == (3, 1, 0, 0, 0, 0)
    struct.pack_into("=I", packed, 12, 2)
    struct.pack_into("=QdQd", packed, 64, 5, 0.5, 6, float("inf"))
    hits = vexfs.unpack_hits(packed)
    assert hits["ino"].tolist() == [5, 6] and hits["distance"].tolist() == [0.5, float("inf")]


@pytest.mark.parametrize("ids", [[-1], [1.5], [2**64], [[1, 2]], 3])
def test_what_is_no_id_is_refused(ids: object) -> None:
    with pytest.raises(ValueError, match=r"ids"):
        vexfs._keys(ids)


def test_ids_may_have_all_64_bits() -> None:
    assert vexfs._keys([1, 2**64 - 1]).tolist() == [1, 2**64 - 1]
    assert vexfs._keys([]).tolist() == []


def test_a_folder_that_is_no_collection_says_so(tmp_path: Path) -> None:
    with pytest.raises(vexfs.VexfsError, match="not on a VexFS volume") as caught:
        vexfs.Collection.open(tmp_path)
    assert caught.value.errno == errno.ENOTTY and caught.value.filename == str(tmp_path)
    new = tmp_path / "new"
    with pytest.raises(vexfs.VexfsError, match="not on a VexFS volume"):
        vexfs.Collection.create(new, 3)
    assert not new.exists(), "nothing half-made stays behind"
    with pytest.raises(ValueError, match=r"metric 'l3' is none of l2, ip, cosine"):
        vexfs.Collection.create(new, 3, "l3")
    with pytest.raises(ValueError, match=r"dimension 2049 is not in 1\.\.2048"):
        vexfs.Collection.create(new, 2049)
