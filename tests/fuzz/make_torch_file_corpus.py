"""Writes the corpus of torch_file: small PyTorch checkpoints (NAME.pth) and bare pickles (NAME.pkl), good and hostile.

    python3 tests/fuzz/make_torch_file_corpus.py      (standard library only; the files are the same every time)
"""

import pathlib
import struct
import zlib

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus" / "torch_file"


def put(name, data):
    CORPUS.mkdir(parents=True, exist_ok=True)
    (CORPUS / name).write_bytes(data)


# Zip files by hand, so that every field can lie. An entry: (name, data, changes of the fields below).
LOCAL, CENTRAL, END = 0x04034B50, 0x02014B50, 0x06054B50
END64, LOCATOR = 0x06064B50, 0x07064B50


def zip_file(entries, comment=b"", zip64=False, count=None, size_off=0, begin_off=0, end_disk=0):
    out, directory = b"", b""
    for name, data, *changes in entries:
        field = {"method": 0, "flags": 0x800, "size": len(data), "packed": len(data), "header": len(out), "local_name": name,
                 "local_size": len(data), "local_method": None, "extra": b"", "central_mark": CENTRAL, "local_mark": LOCAL}
        field.update(changes[0] if changes else {})
        name, local_name = name.encode(), field["local_name"].encode()
        local_method = field["method"] if field["local_method"] is None else field["local_method"]
        head = struct.pack("<IHHHHHIIIHH", field["local_mark"], 20, field["flags"], local_method, 0, 0x21, zlib.crc32(data),
                           field["local_size"], field["local_size"], len(local_name), 0)
        out += head + local_name + data
        directory += struct.pack("<IHHHHHHIIIHHHHHII", field["central_mark"], 20, 20, field["flags"], field["method"], 0, 0x21, zlib.crc32(data),
                                 field["packed"], field["size"], len(name), len(field["extra"]), 0, 0, 0, 0, field["header"])
        directory += name + field["extra"]
    count = len(entries) if count is None else count
    size, begin = len(directory) + size_off, len(out) + begin_off
    tail = b""
    if zip64:
        at = len(out) + len(directory)
        tail = struct.pack("<IQHHIIQQQQ", END64, 44, 45, 45, 0, 0, count, count, size, begin) + struct.pack("<IIQI", LOCATOR, 0, at, 1)
        count, size, begin = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    return out + directory + tail + struct.pack("<IHHHHIIH", END, end_disk, end_disk, count, count, size, begin, len(comment)) + comment


def checkpoint(pickle, storages=None, folder="archive", more=(), **options):
    entries = [(f"{folder}/data.pkl", pickle), (f"{folder}/byteorder", b"little"), (f"{folder}/version", b"3\n")]
    entries += [(f"{folder}/data/{key}", data) for key, data in (storages or {}).items()]
    return zip_file(entries + list(more), **options)


# Pickles by hand.
def text(value):
    data = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def ints(values):
    return b"(" + b"".join(integer(v) for v in values) + b"t"


def named(module, name):
    return f"c{module}\n{name}\n".encode()


HOOKS = named("collections", "OrderedDict") + b")R"


def storage(key="0", elements=2, kind="FloatStorage", module="torch", tag="storage"):
    return b"(" + text(tag) + named(module, kind) + text(key) + text("cpu") + integer(elements) + b"tQ"


def tensor(shape=(2,), strides=(1,), offset=0, of=None, hooks=HOOKS, more=b"", name="_rebuild_tensor_v2"):
    return named("torch._utils", name) + b"(" + (storage() if of is None else of) + integer(offset) + ints(shape) + ints(strides) + b"\x89" + hooks + more + b"tR"


def pickled(items, start=b"}", protocol=2):
    return b"\x80" + bytes([protocol]) + start + b"(" + b"".join(text(k) + v for k, v in items) + b"u."


TWO = {"0": struct.pack("<2f", 1.5, -2)}
GOOD = pickled([("w", tensor())])


def make_good():
    put("one.pth", checkpoint(GOOD, TWO))
    put("comment.pth", checkpoint(GOOD, TWO, comment=b"made by hand"))
    put("zip64.pth", checkpoint(GOOD, TWO, zip64=True))
    put("zip64_entry.pth", checkpoint(GOOD, {}, more=[("archive/data/0", TWO["0"], {
        "size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "local_size": 0xFFFFFFFF, "extra": struct.pack("<HH4xHHQQ", 9, 4, 1, 16, 8, 8)})]))
    put("other_folder.pth", checkpoint(GOOD, TWO, folder="RWKV-x060-World"))
    put("first_torch_with_zip.pth", zip_file([("archive/data.pkl", GOOD), ("archive/data/0", TWO["0"]), ("archive/version", b"2\n")]))
    put("group.pth", checkpoint(pickled([("model", b"}" + text("w") + tensor() + b"s"), ("step", integer(7)), ("list", b"](K\x01G" + bytes(8) + b"e")]), TWO))
    v3 = tensor(of=storage(kind="UntypedStorage", module="torch.storage", elements=4), more=named("torch", "uint16"), name="_rebuild_tensor_v3")
    put("untyped.pth", checkpoint(pickled([("u", v3)]), {"0": bytes(4)}))
    put("parameter.pth", checkpoint(pickled([("p", named("torch._utils", "_rebuild_parameter") + tensor() + b"\x88" + HOOKS + b"\x87R")]), TWO))
    put("metadata.pth", checkpoint(b"\x80\x02" + HOOKS + text("w") + tensor() + b"s}" + text("_metadata") + HOOKS + b"sb.", TWO))
    put("good.pkl", GOOD)


# Each breaks one rule; torch_file_test.cc names the message.
def make_calls():
    run = {"os_system": named("os", "system") + text("true") + b"\x85R", "posix_system": named("posix", "system") + text("true") + b"\x85R",
           "eval": named("builtins", "eval") + text("1") + b"\x85R", "python_2_eval": named("__builtin__", "eval") + text("1") + b"\x85R",
           "getattr": named("builtins", "getattr") + HOOKS + text("update") + b"\x86R", "import_only": named("os", "system"),
           "torch_load": named("torch", "load") + text("x") + b"\x85R", "hidden_in_name": named("torch._utils", "_rebuild_tensor_v2.__globals__")}
    for name, call in run.items():
        put(f"call_{name}.pth", checkpoint(pickled([("w", tensor()), ("x", call)]), TWO))
    put("call_stack_global.pth", checkpoint(b"\x80\x04" + text("os") + text("system") + b"\x93" + text("true") + b"\x85R.", TWO))
    put("call_stack_global_numbers.pth", checkpoint(b"\x80\x04K\x01K\x02\x93.", TWO))
    put("call_instance.pth", checkpoint(b"\x80\x02(" + text("true") + b"ios\nsystem\n.", TWO))
    put("call_new_object.pth", checkpoint(b"\x80\x02" + named("collections", "OrderedDict") + b")\x81.", TWO))
    put("call_extension.pth", checkpoint(b"\x80\x02\x82\x01.", TWO))
    put("call_text.pth", checkpoint(b"\x80\x02" + text("os.system") + b")R.", TWO))
    put("call_storage.pth", checkpoint(b"\x80\x02" + named("torch", "FloatStorage") + b")R.", TWO))
    put("call_dict_with_items.pth", checkpoint(b"\x80\x02" + named("collections", "OrderedDict") + b"]\x85R.", TWO))
    put("call_size_of_number.pth", checkpoint(b"\x80\x02" + named("torch", "Size") + b"K\x01\x85R.", TWO))


def make_builds():
    state = b"}" + text("__class__") + text("os") + b"s"
    put("build_tensor.pth", checkpoint(pickled([("w", tensor() + state + b"b")]), TWO))
    put("build_global.pth", checkpoint(pickled([("w", named("torch", "Size") + state + b"b")]), TWO))
    put("build_plain_dict.pth", checkpoint(b"\x80\x02}" + state + b"b.", TWO))
    put("build_with_number.pth", checkpoint(b"\x80\x02" + HOOKS + b"K\x01b.", TWO))
    put("hooks.pth", checkpoint(pickled([("w", tensor(hooks=HOOKS + b"K\x01K\x02s"))]), TWO))
    put("tensor_metadata.pth", checkpoint(pickled([("w", tensor(more=b"}" + text("neg") + b"\x88s"))]), TWO))


def make_stacks():
    put("stack_empty_pop.pkl", b"\x80\x02s.")
    put("stack_under_mark.pkl", b"\x80\x02}K\x01(K\x02s.")
    put("stack_no_mark.pkl", b"\x80\x02t.")
    put("stack_two_values.pkl", b"\x80\x02}}.")
    put("stack_open_mark.pkl", b"\x80\x02(}.")
    put("stack_no_value.pkl", b"\x80\x02.")
    put("memo_unknown.pkl", b"\x80\x02h\x07.")
    put("memo_of_nothing.pkl", b"\x80\x02q\x00.")
    put("append_to_dict.pkl", b"\x80\x02}K\x01a.")
    put("set_in_list.pkl", b"\x80\x02]K\x01K\x02s.")
    put("key_without_value.pkl", b"\x80\x02}(K\x01u.")
    put("protocol_0.pkl", b"(dp0\n.")
    put("protocol_1.pkl", b"\x80\x01}.")
    put("protocol_6.pkl", b"\x80\x06}.")
    put("rest_behind_stop.pkl", b"\x80\x02}.cos\nsystem\n")
    put("no_stop.pkl", b"\x80\x02}")
    put("cut_in_text.pkl", b"\x80\x02X\x05\x00\x00\x00ab")
    put("text_huge.pkl", b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b"ab")
    put("bytes_huge.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 2**64 - 1) + b"ab")
    put("global_without_end.pkl", b"\x80\x02ctorch")
    put("persistent_number.pkl", b"\x80\x02K\x01Q.")
    put("persistent_short.pkl", b"\x80\x02(" + text("storage") + b"tQ.")
    put("persistent_module.pkl", b"\x80\x02" + storage(tag="module") + b".")
    put("persistent_dtype.pkl", b"\x80\x02" + storage(kind="uint16") + b".")
    put("persistent_long_key.pkl", b"\x80\x02" + storage(key="0" * 100) + b".")
    put("marks_deep.pkl", b"\x80\x02" + b"(" * 5000 + b".")
    put("lists_deep.pkl", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".")
    put("list_in_itself.pkl", b"\x80\x02]q\x00h\x00a.")
    # Doubles a tuple 60 times through the memo: nothing if shared, 2^60 items if copied.
    put("memo_doubling.pkl", b"\x80\x02(K\x01q\x00" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)) + b"t.")
    put("doubling_dict.pth", checkpoint(b"\x80\x02}q\x00" + text("d") + b"h\x00s" + text("w") + tensor() + b"s.", TWO))


def make_tensors():
    put("storage_longer.pth", checkpoint(pickled([("w", tensor(of=storage(elements=3)))]), TWO))
    put("storage_shorter.pth", checkpoint(pickled([("w", tensor(shape=(1,), of=storage(elements=1)))]), TWO))
    put("storage_negative.pth", checkpoint(pickled([("w", tensor(of=storage(elements=-2)))]), TWO))
    put("storage_overflow.pth", checkpoint(pickled([("w", tensor(of=storage(elements=2**62 + 2)))]), TWO))
    put("storage_missing.pth", checkpoint(pickled([("w", tensor(of=storage(key="1")))]), TWO))
    put("storage_leaves_folder.pth", checkpoint(pickled([("w", tensor(of=storage(key="../version")))]), TWO))
    put("storage_complex.pth", checkpoint(pickled([("w", tensor(of=storage(kind="ComplexFloatStorage")))]), TWO))
    put("storage_untyped.pth", checkpoint(pickled([("w", tensor(of=storage(kind="UntypedStorage", module="torch.storage", elements=8)))]), TWO))
    put("dtype_missing.pth", checkpoint(pickled([("w", tensor(name="_rebuild_tensor_v3", of=storage(kind="UntypedStorage", module="torch.storage", elements=8), more=b"N"))]), TWO))
    put("tensor_past_storage.pth", checkpoint(pickled([("w", tensor(shape=(3,)))]), TWO))
    put("offset_past_storage.pth", checkpoint(pickled([("w", tensor(offset=1))]), TWO))
    put("offset_negative.pth", checkpoint(pickled([("w", tensor(offset=-1))]), TWO))
    put("offset_overflow.pth", checkpoint(pickled([("w", tensor(offset=2**62))]), TWO))
    put("offset_of_empty.pth", checkpoint(pickled([("w", tensor(shape=(0,), offset=3))]), TWO))
    put("shape_negative.pth", checkpoint(pickled([("w", tensor(shape=(-2,)))]), TWO))
    put("shape_overflow.pth", checkpoint(pickled([("w", tensor(shape=(2**32, 2**32, 2), strides=(2**33, 2, 1)))]), TWO))
    put("shape_of_text.pth", checkpoint(pickled([("w", named("torch._utils", "_rebuild_tensor_v2") + b"(" + storage() + b"K\x00" + text("a") + b"\x85)\x89" + HOOKS + b"tR")]), TWO))
    put("rank_65.pth", checkpoint(pickled([("w", tensor(shape=(1,) * 65, strides=(1,) * 65))]), TWO))
    put("strides_fewer.pth", checkpoint(pickled([("w", tensor(shape=(2, 1)))]), TWO))
    put("strides_zero.pth", checkpoint(pickled([("w", tensor(shape=(1000, 1000), strides=(0, 0)))]), TWO))
    put("strides_negative.pth", checkpoint(pickled([("w", tensor(strides=(-1,)))]), TWO))
    put("key_twice.pth", checkpoint(pickled([("w", tensor()), ("w", tensor())]), TWO))
    put("key_twice_in_group.pth", checkpoint(pickled([("model", pickled([("w", tensor()), ("w", integer(1))])[2:-1])]), TWO))
    put("group_without_name.pth", checkpoint(pickled([("", pickled([("w", tensor())])[2:-1]), ("w", tensor())]), TWO))
    put("name_not_utf8.pth", checkpoint(pickled([(b"w\xff", tensor())]), TWO))
    put("list_at_top.pth", checkpoint(b"\x80\x02]" + tensor() + b"a.", TWO))
    put("big_endian.pth", zip_file([("archive/data.pkl", GOOD), ("archive/byteorder", b"big"), ("archive/data/0", TWO["0"])]))
    put("version_11.pth", zip_file([("archive/data.pkl", GOOD), ("archive/version", b"11\n"), ("archive/data/0", TWO["0"])]))
    put("version_text.pth", zip_file([("archive/data.pkl", GOOD), ("archive/version", b"99999999999999999999"), ("archive/data/0", TWO["0"])]))


def make_zips():
    whole = checkpoint(GOOD, TWO)
    put("zip_truncated.pth", whole[:-30])
    put("zip_cut_in_data.pth", whole[:100])
    put("zip_cut_at_front.pth", b"PK\x03\x04" + whole[40:])
    put("zip_empty.pth", b"PK\x03\x04" + zip_file([], begin_off=4))
    put("zip_rest_behind.pth", whole + b"more")
    put("zip_no_folder.pth", zip_file([("data.pkl", GOOD)]))
    put("zip_no_pickle.pth", zip_file([("archive/data/0", TWO["0"])]))
    put("zip_script.pth", checkpoint(GOOD, TWO, more=[("archive/constants.pkl", b"\x80\x02).")]))
    put("zip_name_twice.pth", checkpoint(GOOD, TWO, more=[("archive/data.pkl", GOOD)]))
    put("zip_overlap.pth", checkpoint(GOOD, TWO, more=[("archive/version", b"3\n", {"header": 0, "local_name": "x"})]))
    alias = [("archive/data.pkl", GOOD), ("archive/data/0", TWO["0"], {"header": 0, "size": len(GOOD), "packed": len(GOOD)})]
    put("zip_alias.pth", zip_file(alias))
    inner = zip_file([("archive/data/0", TWO["0"])])
    nested = [("archive/data.pkl", GOOD), ("archive/outer", inner), ("archive/data/0", TWO["0"], {"header": 30 + 16 + len(GOOD) + 30 + 13})]
    put("zip_overlap_inside.pth", zip_file(nested))
    for name, change in {"deflated": {"method": 8}, "encrypted": {"flags": 0x801}, "two_sizes": {"size": 9}, "size_huge": {"size": 2**31, "packed": 2**31},
                         "local_size_lies": {"local_size": 4}, "local_name_lies": {"local_name": "archive/data/1"}, "local_method_lies": {"local_method": 8},
                         "local_mark": {"local_mark": 0}, "central_mark": {"central_mark": 0}, "header_far": {"header": 2**31},
                         "zip64_short": {"size": 0xFFFFFFFF, "extra": struct.pack("<HHI", 1, 4, 8)}, "zip64_missing": {"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF},
                         "extra_runs_out": {"extra": struct.pack("<HH", 1, 400)}}.items():
        put(f"zip_{name}.pth", checkpoint(GOOD, {}, more=[("archive/data/0", TWO["0"], change)]))
    put("zip_pickle_deflated.pth", zip_file([("archive/data.pkl", zlib.compress(GOOD)[2:-4], {"method": 8, "size": len(GOOD)}), ("archive/data/0", TWO["0"])]))
    put("zip_count_low.pth", checkpoint(GOOD, TWO, count=2))
    put("zip_count_high.pth", checkpoint(GOOD, TWO, count=5))
    put("zip_count_huge.pth", checkpoint(GOOD, TWO, zip64=True, count=2**60))
    put("zip_directory_moved.pth", checkpoint(GOOD, TWO, begin_off=-1))
    put("zip_directory_short.pth", checkpoint(GOOD, TWO, size_off=-1))
    put("zip_directory_wraps.pth", checkpoint(GOOD, TWO, zip64=True, begin_off=2**64 - 2**20, size_off=2**20))
    put("zip_disks.pth", checkpoint(GOOD, TWO, end_disk=1))
    big = checkpoint(GOOD, TWO, zip64=True)
    put("zip64_locator_lies.pth", big[:-34] + struct.pack("<Q", 2**63) + big[-26:])
    put("zip64_disagrees.pth", big[:-6] + struct.pack("<I", 1) + big[-2:])
    put("zip64_says_but_none.pth", whole[:-6] + struct.pack("<I", 0xFFFFFFFF) + whole[-2:])
    put("legacy.pth", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.")
    put("text.pth", b"version https://git-lfs.github.com/spec/v1\n")
    put("empty.pth", b"")


if __name__ == "__main__":
    make_good()
    make_calls()
    make_builds()
    make_stacks()
    make_tensors()
    make_zips()
