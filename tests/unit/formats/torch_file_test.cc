#include "core/formats/torch_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "core/base/files.h"
#include "core/formats/crc32.h"
#include "core/formats/torch_file_writer.h"
#include "core/formats/torch_pickle.h"
#include "core/formats/zip_reader.h"

namespace volery::formats {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const std::string kRecorded = std::string(VOLERY_SOURCE_DIR) + "/tests/golden/formats/pth/";
const std::string kCorpus = std::string(VOLERY_SOURCE_DIR) + "/tests/fuzz/corpus/torch_file/";

std::span<const std::byte> Bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string Hex(std::span<const std::byte> bytes) {
  std::string out;
  for (std::byte b : bytes) {
    for (int shift : {4, 0}) out += "0123456789abcdef"[std::to_integer<int>(b) >> shift & 15];
  }
  return out;
}

const std::map<std::string, DType> kTorchNames = {
    {"bool", DType::kBool},         {"uint8", DType::kU8},
    {"int8", DType::kI8},           {"uint16", DType::kU16},
    {"int16", DType::kI16},         {"float16", DType::kF16},
    {"bfloat16", DType::kBf16},     {"uint32", DType::kU32},
    {"int32", DType::kI32},         {"float32", DType::kF32},
    {"uint64", DType::kU64},        {"int64", DType::kI64},
    {"float64", DType::kF64},       {"float8_e4m3fn", DType::kF8E4m3},
    {"float8_e5m2", DType::kF8E5m2}};

std::string ErrorOf(const std::string& path) {
  StatusOr<std::string> text = base::ReadFile(path);
  if (!text.ok()) return Message(text.status());
  Status status;
  if (path.ends_with(".pkl")) {
    status = ReadTorchPickle(Bytes(*text), "m.pth").status();
  } else {
    status = ParseTorchFile(Bytes(*text), "m.pth").status();
  }
  if (status.ok()) return "accepted";
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << path;
  EXPECT_THAT(Message(status), ::testing::StartsWith("m.pth: ")) << path;
  return Message(status);
}

TEST(TorchFile, ReadsWhatTorchReads) {
  const auto expected = nlohmann::json::parse(*base::ReadFile(kRecorded + "expected.json"));
  ASSERT_GE(expected.size(), 9u);
  std::set<DType> seen;
  for (const auto& [file, groups] : expected.items()) {
    const std::string text = *base::ReadFile(kRecorded + file);
    EXPECT_TRUE(LooksLikeTorchFile(Bytes(text))) << file;
    StatusOr<TorchFileView> view = ParseTorchFile(Bytes(text), file);
    ASSERT_TRUE(view.ok()) << view.status();
    size_t count = 0;
    for (const auto& [group, tensors] : groups.items()) {
      for (const auto& [name, value] : tensors.items()) {
        const TorchTensor* tensor = view->Find(name, group);
        ASSERT_NE(tensor, nullptr) << file << " " << group << " " << name;
        EXPECT_EQ(tensor->dtype, kTorchNames.at(value["dtype"])) << file << " " << name;
        EXPECT_EQ(tensor->shape, value["shape"].get<std::vector<int64_t>>()) << file << " " << name;
        EXPECT_EQ(Hex(tensor->bytes), value["hex"].get<std::string>()) << file << " " << name;
        seen.insert(tensor->dtype);
        ++count;
      }
    }
    EXPECT_EQ(view->tensors.size(), count) << file;
    EXPECT_EQ(view->Find("absent"), nullptr);
  }
  EXPECT_EQ(seen.size(), kTorchNames.size());
}

TEST(TorchFile, TensorsOfOneStorageShareTheFilesBytes) {
  const std::string text = *base::ReadFile(kRecorded + "plain_protocol_2.pth");
  StatusOr<TorchFileView> view = ParseTorchFile(Bytes(text), "m.pth");
  ASSERT_TRUE(view.ok());
  const TorchTensor* whole = view->Find("whole");
  EXPECT_EQ(view->Find("view")->bytes.data(), whole->bytes.data() + 24);
  EXPECT_GE(whole->bytes.data(), Bytes(text).data());
  EXPECT_LT(whole->bytes.data(), Bytes(text).data() + text.size());
  EXPECT_EQ(view->tensors.front().name, "whole");
}

TEST(TorchFile, ListsWhatIsNoTensor) {
  const std::string text = *base::ReadFile(kRecorded + "groups.pth");
  StatusOr<TorchFileView> view = ParseTorchFile(Bytes(text), "m.pth");
  ASSERT_TRUE(view.ok()) << view.status();
  std::map<std::string, std::string> skipped;
  for (const TorchSkipped& entry : view->skipped) skipped[entry.group + "/" + entry.name] = entry.what;
  const std::map<std::string, std::string> expected = {{"optimizer/state", "a dict of 4"},
                                                       {"optimizer/param_groups", "a list of 1"},
                                                       {"/step", "the integer 70000"},
                                                       {"/negative", "the integer -1099511627776"},
                                                       {"/ratio", "the number 0.125"},
                                                       {"/name", "the text \"caf??\""},
                                                       {"/flags", "a list of 2"},
                                                       {"/size", "a tuple of 2"},
                                                       {"/pair", "a tuple of 2"},
                                                       {"/big", "another value"},
                                                       {"/(a key that is no text)", "the text \"five\""}};
  EXPECT_EQ(skipped, expected);
}

TEST(TorchFile, RefusesOtherThingsThatTorchWritesAndSaysWhatToDo) {
  const std::map<std::string, std::string> cases = {
      {"not_contiguous.pth",
       "tensor \"turned\" of shape [3, 2] isn't contiguous (strides [1, 3]); save tensor.contiguous()"},
      {"legacy.pth", "before version 1.6, which volery doesn't read; save it again"},
      {"bare_tensor.pth", "holds a tensor, not a dict of tensors"},
      {"whole_module.pth", "global torch.nn.modules.linear.Linear isn't one that volery reads"},
      {"sparse.pth", "global torch._utils._rebuild_sparse_tensor"},
      {"complex.pth", "global torch.ComplexFloatStorage"},
      {"negated.pth", "a tensor has metadata"},
      {"script.pth", "is a TorchScript program"}};
  for (const auto& [file, message] : cases)
    EXPECT_THAT(ErrorOf(kRecorded + file), HasSubstr(message)) << file;
  EXPECT_TRUE(LooksLikeTorchFile(Bytes(*base::ReadFile(kRecorded + "legacy.pth"))));
  EXPECT_FALSE(LooksLikeTorchFile(Bytes("PK")));
  EXPECT_FALSE(LooksLikeTorchFile({}));
}

// Files and pickles of tests/fuzz/make_torch_file_corpus.py, each with one thing wrong.
TEST(TorchFile, HostileFilesAreRefusedByWhatIsWrong) {
  const std::string code = ": this file could run code when loaded by other programs; volery refuses it";
  const std::map<std::string, std::string> cases = {
      {"call_os_system.pth", "global os.system" + code},
      {"call_posix_system.pth", "global posix.system" + code},
      {"call_eval.pth", "global builtins.eval" + code},
      {"call_python_2_eval.pth", "global __builtin__.eval" + code},
      {"call_getattr.pth", "global builtins.getattr" + code},
      {"call_import_only.pth", "global os.system" + code},
      {"call_stack_global.pth", "global os.system" + code},
      {"call_torch_load.pth", "global torch.load isn't one that volery reads"},
      {"call_hidden_in_name.pth", "global torch._utils._rebuild_tensor_v2.__globals__ isn't one"},
      {"call_stack_global_numbers.pth", "named by something that is no text"},
      {"call_instance.pth", "opcode 105"},
      {"call_new_object.pth", "opcode 129"},
      {"call_extension.pth", "opcode 130"},
      {"call_text.pth", "a call isn't of a global"},
      {"call_storage.pth", "torch.FloatStorage is called"},
      {"call_dict_with_items.pth", "OrderedDict is called with arguments"},
      {"call_size_of_number.pth", "torch.Size isn't called with a tuple"},
      {"build_tensor.pth", "attributes are set on something that is no OrderedDict"},
      {"build_global.pth", "attributes are set on something that is no OrderedDict"},
      {"build_plain_dict.pth", "attributes are set on something that is no OrderedDict"},
      {"build_with_number.pth", "attributes are set on something that is no OrderedDict"},
      {"hooks.pth", "no hooks"},
      {"tensor_metadata.pth", "a tensor has metadata"},
      {"stack_empty_pop.pkl", "takes more values than the stack holds"},
      {"stack_under_mark.pkl", "takes more values than the stack holds"},
      {"stack_no_mark.pkl", "needs a mark"},
      {"stack_two_values.pkl", "stops with 2 values"},
      {"stack_open_mark.pkl", "stops with 1 values"},
      {"stack_no_value.pkl", "stops with 0 values"},
      {"memo_unknown.pkl", "memo slot 7"},
      {"memo_of_nothing.pkl", "the stack is empty"},
      {"append_to_dict.pkl", "no list"},
      {"set_in_list.pkl", "no dict"},
      {"key_without_value.pkl", "a key without a value"},
      {"protocol_0.pkl", "opcode 100"},
      {"protocol_1.pkl", "protocol 1"},
      {"protocol_6.pkl", "protocol 6"},
      {"rest_behind_stop.pkl", "stops 11 bytes before its end"},
      {"no_stop.pkl", "ends in the middle"},
      {"cut_in_text.pkl", "ends in the middle"},
      {"text_huge.pkl", "ends in the middle"},
      {"bytes_huge.pkl", "ends in the middle"},
      {"global_without_end.pkl", "name doesn't end"},
      {"persistent_number.pkl", "a persistent id isn't"},
      {"persistent_short.pkl", "a persistent id isn't"},
      {"persistent_module.pkl", "a persistent id isn't"},
      {"persistent_dtype.pkl", "a persistent id isn't"},
      {"persistent_long_key.pkl", "key is longer than 64"},
      {"marks_deep.pkl", "nested deeper than 1000"},
      {"storage_longer.pth",
       "tensor \"w\": its storage \"0\" should have 3 elements of 4 bytes but the file holds 8"},
      {"storage_shorter.pth", "should have 1 elements of 4 bytes but the file holds 8"},
      {"storage_negative.pth", "should have -2 elements"},
      {"storage_overflow.pth", "should have 4611686018427387906 elements"},
      {"storage_missing.pth", "tensor \"w\": there is no zip entry \"archive/data/1\""},
      {"storage_leaves_folder.pth", "there is no zip entry \"archive/data/../version\""},
      {"storage_complex.pth", "global torch.ComplexFloatStorage"},
      {"storage_untyped.pth", "don't say which element type"},
      {"dtype_missing.pth", "don't say which element type"},
      {"tensor_past_storage.pth", "tensor \"w\" of shape [3] at offset 0 leaves its storage of 8 bytes"},
      {"offset_past_storage.pth", "at offset 1 leaves"},
      {"offset_negative.pth", "at offset -1 leaves"},
      {"offset_overflow.pth", "at offset 4611686018427387904 leaves"},
      {"offset_of_empty.pth", "at offset 3 leaves"},
      {"shape_negative.pth", "the impossible shape [-2]"},
      {"shape_overflow.pth", "the impossible shape [4294967296, 4294967296, 2]"},
      {"shape_of_text.pth", "isn't built from"},
      {"rank_65.pth", "isn't built from"},
      {"strides_fewer.pth", "isn't built from"},
      {"strides_zero.pth", "isn't contiguous (strides [0, 0])"},
      {"strides_negative.pth", "isn't contiguous (strides [-1])"},
      {"key_twice.pth", "key \"w\" stands twice"},
      {"key_twice_in_group.pth", "key \"w\" stands twice"},
      {"group_without_name.pth", "under the key \"\""},
      {"name_not_utf8.pth", "the name isn't UTF-8"},
      {"list_at_top.pth", "holds a list of 1"},
      {"big_endian.pth", "byte order is \"big\""},
      {"version_11.pth", "version is \"11\""},
      {"version_text.pth", "version is \"99999999999999999999\""},
      {"zip_truncated.pth", "no end record of a zip file in 605 bytes; is it truncated?"},
      {"zip_cut_in_data.pth", "is it truncated?"},
      {"zip_cut_at_front.pth", "doesn't end at the end record"},
      {"zip_empty.pth", "the zip file is empty"},
      {"zip_rest_behind.pth", "no end record"},
      {"zip_no_folder.pth", "doesn't stand in a folder"},
      {"zip_no_pickle.pth", "there is no zip entry \"archive/data.pkl\""},
      {"zip_script.pth", "is a TorchScript program"},
      {"zip_name_twice.pth", "zip entry \"archive/data.pkl\" stands twice"},
      {"zip_overlap.pth", "described differently"},
      {"zip_alias.pth", "described differently"},
      {"zip_overlap_inside.pth", "\"archive/outer\" and \"archive/data/0\" overlap"},
      {"zip_deflated.pth", "tensor \"w\": zip entry \"archive/data/0\" is compressed"},
      {"zip_pickle_deflated.pth", "zip entry \"archive/data.pkl\" is compressed"},
      {"zip_encrypted.pth", "is encrypted"},
      {"zip_two_sizes.pth", "two sizes, 8 and 9"},
      {"zip_size_huge.pth", "of 2147483648 bytes at byte 315 runs past"},
      {"zip_local_size_lies.pth", "described differently"},
      {"zip_local_name_lies.pth", "described differently"},
      {"zip_local_method_lies.pth", "described differently"},
      {"zip_local_mark.pth", "at byte 315, where none stands"},
      {"zip_central_mark.pth", "directory is damaged"},
      {"zip_header_far.pth", "at byte 2147483648, where none stands"},
      {"zip_zip64_short.pth", "zip64 field that is too short"},
      {"zip_zip64_missing.pth", "of 4294967295 bytes"},
      {"zip_extra_runs_out.pth", "extra field that runs past"},
      {"zip_count_low.pth", "more than its 2 entries"},
      {"zip_count_high.pth", "directory is damaged"},
      {"zip_count_huge.pth", "1152921504606846976 zip entries don't fit"},
      {"zip_directory_moved.pth", "doesn't end at the end record"},
      {"zip_directory_short.pth", "doesn't end at the end record"},
      {"zip_directory_wraps.pth", "doesn't end at the zip64 record"},
      {"zip_disks.pth", "several disks"},
      {"zip64_locator_lies.pth", "points at byte 9223372036854775808"},
      {"zip64_disagrees.pth", "say different things"},
      {"zip64_says_but_none.pth", "there is no zip64 record"},
      {"legacy.pth", "before version 1.6"},
      {"text.pth", "is no PyTorch checkpoint"},
      {"empty.pth", "is no PyTorch checkpoint"}};
  const std::set<std::string> good = {"one.pth",         "comment.pth",       "zip64.pth",
                                      "zip64_entry.pth", "other_folder.pth",  "first_torch_with_zip.pth",
                                      "group.pth",       "untyped.pth",       "parameter.pth",
                                      "metadata.pth",    "good.pkl",          "list_in_itself.pkl",
                                      "lists_deep.pkl",  "memo_doubling.pkl", "doubling_dict.pth"};
  for (const auto& [file, message] : cases) EXPECT_THAT(ErrorOf(kCorpus + file), HasSubstr(message)) << file;
  for (const std::string& file : good) EXPECT_EQ(ErrorOf(kCorpus + file), "accepted") << file;
  const StatusOr<std::vector<std::string>> files = base::ListFolder(kCorpus);
  ASSERT_TRUE(files.ok());
  for (const std::string& file : *files) {
    EXPECT_NE(cases.contains(file), good.contains(file)) << file << " has no expectation";
  }
}

std::string Text(const std::string& text) {
  const auto size = static_cast<uint32_t>(text.size());
  return "X" + std::string(reinterpret_cast<const char*>(&size), 4) + text;
}

// Bounded work: each of these would need gigabytes or hours if something were copied per reference.
TEST(TorchPickle, LargePicklesStayWithinTheLimits) {
  const std::string head = "\x80\x02";
  const auto error_of = [](const std::string& pickle) {
    return Message(ReadTorchPickle(Bytes(pickle), "m").status());
  };
  EXPECT_THAT(error_of(head + std::string(3'000'000, 'N') + "."), HasSubstr("more than 2000000 objects"));
  EXPECT_THAT(error_of(head + std::string(3'000'000, '(') + "."), HasSubstr("nested deeper"));
  EXPECT_THAT(error_of(head + "N" + std::string(3'000'000, '\x94') + "."),
              HasSubstr("more than 2000000 memo slots"));
  EXPECT_THAT(error_of(head + std::string((32 << 20) + 1, 'N')), HasSubstr("above the limit of 33554432"));
  std::string shared = head + "]q" + std::string(1, '\0') + "(";
  for (int i = 0; i < 5'000'000; ++i) shared += std::string("h\0", 2);
  EXPECT_TRUE(ReadTorchPickle(Bytes(shared + "e."), "m").ok());
}

// One dict of a thousand tensors with long names under ever more keys.
TEST(TorchFile, ADictUnderManyKeysIsBounded) {
  std::string inner = "}q" + std::string(1, '\0') + "(";
  for (int i = 0; i < 1000; ++i) inner += Text(Cat(i, std::string(2000, 'n'))) + "K\x01";
  inner += "u";
  std::string pickle = "\x80\x02}(" + Text("first") + inner;
  for (int i = 0; i < 300'000; ++i) pickle += Text(Cat("k", i)) + std::string("h\0", 2);
  base::TemporaryFolder folder;
  auto zip = ZipWriter::Create(folder.File("m"));
  ASSERT_TRUE(zip.ok());
  ASSERT_TRUE((*zip)->Add("archive/data.pkl", Bytes(pickle + "u."), 64).ok());
  ASSERT_TRUE((*zip)->Finish().ok());
  EXPECT_THAT(ErrorOf(folder.File("m")), AllOf(HasSubstr("names are longer than"), HasSubstr("together")));
}

std::vector<TorchDeclaration> DeclarationsOf(const TorchFileView& view) {
  std::vector<TorchDeclaration> declared;
  for (const TorchTensor& tensor : view.tensors)
    declared.push_back({tensor.name, tensor.dtype, tensor.shape});
  return declared;
}

Status WriteAgain(const TorchFileView& view, const std::string& path) {
  VOLERY_ASSIGN_OR_RETURN(auto writer, TorchFileWriter::Open(path, DeclarationsOf(view)));
  for (const TorchTensor& tensor : view.tensors) VOLERY_RETURN_IF_ERROR(writer->Write(tensor.bytes));
  return writer->Finish();
}

TEST(TorchFileWriter, WrittenFilesAreAlignedTheSameEveryTimeAndReadBack) {
  const std::string original = *base::ReadFile(kRecorded + "plain_protocol_2.pth");
  StatusOr<TorchFileView> view = ParseTorchFile(Bytes(original), "m.pth");
  ASSERT_TRUE(view.ok());
  base::TemporaryFolder folder;
  for (const char* name : {"a.pth", "other_name.pth"}) ASSERT_TRUE(WriteAgain(*view, folder.File(name)).ok());
  const std::string written = *base::ReadFile(folder.File("a.pth"));
  EXPECT_EQ(written, *base::ReadFile(folder.File("other_name.pth")));
  StatusOr<TorchFileView> again = ParseTorchFile(Bytes(written), "again");
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(again->tensors.size(), view->tensors.size());
  for (size_t i = 0; i < again->tensors.size(); ++i) {
    const TorchTensor &a = again->tensors[i], &b = view->tensors[i];
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.dtype, b.dtype) << a.name;
    EXPECT_EQ(a.shape, b.shape) << a.name;
    EXPECT_EQ(Hex(a.bytes), Hex(b.bytes)) << a.name;
    EXPECT_EQ((a.bytes.data() - Bytes(written).data()) % 64, 0) << a.name;
  }
}

TEST(TorchFileWriter, RefusesWhatItCannotKeep) {
  EXPECT_FALSE(TorchPickle({{"w", DType::kF32, {1}}, {"w", DType::kF32, {1}}}).ok());
  EXPECT_FALSE(TorchPickle({{"w\xff", DType::kF32, {1}}}).ok());
  EXPECT_FALSE(TorchPickle({{"w", DType::kF32, {int64_t{1} << 62, 4}}}).ok());
  EXPECT_FALSE(TorchPickle({{"w", DType::kF32, {-1}}}).ok());
  base::TemporaryFolder folder;
  auto writer = TorchFileWriter::Open(folder.File("m"), {{"w", DType::kF32, {2}}, {"v", DType::kU8, {1}}});
  ASSERT_TRUE(writer.ok());
  EXPECT_THAT(Message((*writer)->Write(Bytes("abc"))),
              AllOf(HasSubstr("\"w\""), HasSubstr("8 bytes"), HasSubstr("got 3")));
  ASSERT_TRUE((*writer)->Write(Bytes("12345678")).ok());
  EXPECT_THAT(Message((*writer)->Finish()), HasSubstr("\"v\" was declared but never written"));
  ASSERT_TRUE((*writer)->Write(Bytes("1")).ok());
  EXPECT_FALSE((*writer)->Write(Bytes("1")).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_FALSE((*writer)->Finish().ok());
  EXPECT_FALSE((*writer)->Write(Bytes("1")).ok());
  EXPECT_THAT(Message(TorchFileWriter::Open(folder.File("no/such/folder"), {}).status()),
              HasSubstr("No such file"));
}

TEST(TorchFileWriter, FullDiskIsReportedAndNotForgotten) {
  if (!base::Exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  auto writer = TorchFileWriter::Open("/dev/full", {{"w", DType::kU8, {1 << 20}}});
  ASSERT_TRUE(writer.ok()) << writer.status();
  EXPECT_EQ((*writer)->Write(Bytes(std::string(1 << 20, 'x'))).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ((*writer)->Finish().code(), StatusCode::kResourceExhausted);
}

TEST(OutputFile, AFailedWriteMakesCloseFail) {
  if (!base::Exists("/dev/full")) GTEST_SKIP() << "no /dev/full on this system";
  auto file = OutputFile::Create("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_FALSE((*file)->Write(std::string(1 << 20, 'x')).ok());
  EXPECT_FALSE((*file)->Write("").ok());
  EXPECT_EQ((*file)->Close().code(), StatusCode::kResourceExhausted);
  EXPECT_EQ((*file)->Close().code(), StatusCode::kFailedPrecondition);
}

// The check value of this sum's definition, and a sentence often used for it.
TEST(Crc32, GivesThePublishedSums) {
  EXPECT_EQ(Crc32({}), 0u);
  EXPECT_EQ(Crc32(Bytes("123456789")), 0xcbf43926u);
  EXPECT_EQ(Crc32(Bytes("The quick brown fox jumps over the lazy dog")), 0x414fa339u);
}

// The headers that Python's zipfile writes for entries beyond 4 GiB.
TEST(ZipWriter, BigEntriesHaveTheFieldsThatZipfileWrites) {
  const auto expected = nlohmann::ordered_json::parse(*base::ReadFile(kRecorded + "zip64.json"));
  const auto& entries = expected["entries"];
  ASSERT_EQ(entries.size(), 4u);
  std::string directory;
  for (const auto& [name, value] : entries.items()) {
    const ZipRecord record{name, value["crc"], value["size"], value["header"]};
    directory += ZipDirectoryEntry(record);
    const std::string local = Hex(Bytes(ZipLocalHeader(record, 64)));
    const std::string recorded = value["local"].get<std::string>();
    EXPECT_EQ(local.substr(0, 56), recorded.substr(0, 56)) << name;  // up to the length of the extra field
    EXPECT_EQ(local.substr(60, recorded.size() - 60), recorded.substr(60)) << name;  // padding follows
    EXPECT_EQ((record.header + local.size() / 2) % 64, 0u) << name;
  }
  EXPECT_EQ(Hex(Bytes(directory)), expected["directory"].get<std::string>());
  EXPECT_EQ(Hex(Bytes(ZipEnd(entries.size(), directory.size(), expected["begin"]))),
            expected["end"].get<std::string>());
}

}  // namespace
}  // namespace volery::formats
