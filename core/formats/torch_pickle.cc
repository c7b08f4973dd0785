#include "core/formats/torch_pickle.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <unordered_map>

#include "core/formats/pickle_opcodes.h"
#include "core/formats/printable.h"
#include "core/formats/torch_globals.h"

namespace volery::formats {
namespace {

constexpr size_t kMaxNodes = 2'000'000;
constexpr size_t kMaxMarks = 1000;
constexpr size_t kMaxStorageKey = 64;

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  StatusOr<Pickle> Run() {
    while (!done_) {
      VOLERY_ASSIGN_OR_RETURN(const uint64_t opcode, Number(1));
      opcode_at_ = at_ - 1;
      VOLERY_RETURN_IF_ERROR(Step(static_cast<uint8_t>(opcode)));
    }
    return std::move(pickle_);
  }

 private:
  template <class... Args>
  Status Fail(const Args&... args) const {
    return InvalidError(where_, ": at byte ", opcode_at_, " of the pickle: ", args...);
  }

  Status Step(uint8_t opcode);
  Status Load(uint8_t opcode);
  Status Collect(uint8_t opcode);
  Status Memo(uint8_t opcode);
  Status ReadProto();
  Status ReadLong();
  Status ReadStop();
  Status ReadGlobal();
  Status ReadStackGlobal();
  Status PushGlobal(std::string_view module, std::string_view name);
  Status ReadPersistentId();
  Status ReadReduce();
  Status ReadBuild();
  Status RebuildTensor(const std::vector<PickleId>& args, bool names_dtype);
  Status RebuildParameter(const std::vector<PickleId>& args);

  // From the bytes; each checks that they are there.
  StatusOr<uint64_t> Number(size_t width);
  StatusOr<std::string_view> Take(uint64_t size);
  StatusOr<std::string_view> TakeCounted(size_t width);
  StatusOr<std::string_view> TakeLine();

  Status Push(PickleNode node);
  Status PushId(PickleId id) {
    stack_.push_back(id);
    return OkStatus();
  }
  Status PushNumber(PickleKind kind, int64_t number);
  Status PushText(PickleKind kind, StatusOr<std::string_view> text);
  // The newest `count` values above the last mark, oldest first.
  StatusOr<std::vector<PickleId>> Pop(size_t count);
  StatusOr<std::vector<PickleId>> PopToMark();
  StatusOr<PickleId> Top() const;
  PickleNode& at(PickleId id) { return pickle_.nodes[id]; }

  Status PushTuple(StatusOr<std::vector<PickleId>> items);
  Status AddTo(PickleKind kind, StatusOr<std::vector<PickleId>> items);

  TorchRole RoleOf(PickleId global) { return TorchGlobals()[static_cast<size_t>(at(global).number)].role; }
  bool IsHooks(PickleId id) {
    return at(id).kind == PickleKind::kNone || (at(id).kind == PickleKind::kDict && at(id).items.empty());
  }
  bool IsInts(PickleId id) {
    return at(id).kind == PickleKind::kTuple && at(id).items.size() <= kMaxTensorRank &&
           std::ranges::all_of(at(id).items,
                               [this](PickleId item) { return at(item).kind == PickleKind::kInt; });
  }

  const std::span<const std::byte> bytes_;
  const std::string& where_;
  size_t at_ = 0, opcode_at_ = 0;
  bool done_ = false;
  Pickle pickle_;
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint32_t, PickleId> memo_;
};

StatusOr<uint64_t> Machine::Number(size_t width) {
  VOLERY_ASSIGN_OR_RETURN(const std::string_view raw, Take(width));
  uint64_t value = 0;
  std::memcpy(&value, raw.data(), width);
  return value;
}

StatusOr<std::string_view> Machine::Take(uint64_t size) {
  if (size > bytes_.size() - at_)
    return Fail("the pickle ends in the middle of a value; is the file truncated?");
  std::string_view taken(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
  at_ += size;
  return taken;
}

StatusOr<std::string_view> Machine::TakeCounted(size_t width) {
  VOLERY_ASSIGN_OR_RETURN(const uint64_t size, Number(width));
  return Take(size);
}

StatusOr<std::string_view> Machine::TakeLine() {
  const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, bytes_.size() - at_);
  const size_t end = rest.find('\n');
  if (end == std::string_view::npos) return Fail("a global's name doesn't end");
  at_ += end + 1;
  return rest.substr(0, end);
}

Status Machine::Push(PickleNode node) {
  if (pickle_.nodes.size() == kMaxNodes) return Fail("more than ", kMaxNodes, " objects");
  pickle_.nodes.push_back(std::move(node));
  return PushId(static_cast<PickleId>(pickle_.nodes.size() - 1));
}

Status Machine::PushNumber(PickleKind kind, int64_t number) {
  return Push({.kind = kind, .number = number});
}

Status Machine::PushText(PickleKind kind, StatusOr<std::string_view> text) {
  VOLERY_RETURN_IF_ERROR(text.status());
  return Push({.kind = kind, .text = *text});
}

StatusOr<std::vector<PickleId>> Machine::Pop(size_t count) {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() - floor < count) return Fail("an opcode takes more values than the stack holds");
  std::vector<PickleId> items(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
  stack_.resize(stack_.size() - count);
  return items;
}

StatusOr<std::vector<PickleId>> Machine::PopToMark() {
  if (marks_.empty()) return Fail("an opcode needs a mark but none was set");
  auto items = Pop(stack_.size() - marks_.back());
  marks_.pop_back();
  return items;
}

StatusOr<PickleId> Machine::Top() const {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back()))
    return Fail("an opcode needs a value but the stack is empty");
  return stack_.back();
}

Status Machine::Step(uint8_t opcode) {
  switch (opcode) {
    case kProto:
      return ReadProto();
    case kFrame:
      return Number(8).status();  // how much to read ahead; nothing depends on it
    case kStop:
      return ReadStop();
    case kGlobalOp:
      return ReadGlobal();
    case kStackGlobal:
      return ReadStackGlobal();
    case kPersistentId:
      return ReadPersistentId();
    case kReduce:
      return ReadReduce();
    case kBuild:
      return ReadBuild();
    case kMark:
      if (marks_.size() == kMaxMarks) return Fail("nested deeper than ", kMaxMarks, " levels");
      marks_.push_back(stack_.size());
      return OkStatus();
    case kPut1:
    case kPut4:
    case kGet1:
    case kGet4:
    case kMemoize:
      return Memo(opcode);
    case kEmptyTuple:
    case kTuple:
    case kTuple1:
    case kTuple2:
    case kTuple3:
    case kEmptyList:
    case kAppend:
    case kAppends:
    case kEmptyDict:
    case kSetItem:
    case kSetItems:
      return Collect(opcode);
    default:
      return Load(opcode);
  }
}

// Opcodes that push one plain value.
Status Machine::Load(uint8_t opcode) {
  switch (opcode) {
    case kNoneOp:
      return Push({});
    case kTrue:
    case kFalse:
      return PushNumber(PickleKind::kBool, opcode == kTrue);
    case kInt1:
    case kInt2: {
      VOLERY_ASSIGN_OR_RETURN(const uint64_t value, Number(opcode == kInt1 ? 1 : 2));
      return PushNumber(PickleKind::kInt, static_cast<int64_t>(value));
    }
    case kInt4: {
      VOLERY_ASSIGN_OR_RETURN(const uint64_t value, Number(4));
      return PushNumber(PickleKind::kInt, static_cast<int32_t>(value));
    }
    case kLong1:
      return ReadLong();
    case kFloat8: {
      VOLERY_ASSIGN_OR_RETURN(const uint64_t value, Number(8));
      return Push({.kind = PickleKind::kFloat, .real = std::bit_cast<double>(__builtin_bswap64(value))});
    }
    case kUnicode1:
      return PushText(PickleKind::kString, TakeCounted(1));
    case kUnicode4:
      return PushText(PickleKind::kString, TakeCounted(4));
    case kUnicode8:
      return PushText(PickleKind::kString, TakeCounted(8));
    case kBytes1:
      return PushText(PickleKind::kOther, TakeCounted(1));
    case kBytes4:
      return PushText(PickleKind::kOther, TakeCounted(4));
    case kBytes8:
      return PushText(PickleKind::kOther, TakeCounted(8));
    default:
      return Fail("opcode ", static_cast<int>(opcode),
                  " is none of those that torch.save writes for a dict of tensors");
  }
}

// Opcodes that make or fill tuples, lists and dicts.
Status Machine::Collect(uint8_t opcode) {
  switch (opcode) {
    case kEmptyTuple:
      return Push({.kind = PickleKind::kTuple});
    case kTuple:
      return PushTuple(PopToMark());
    case kTuple1:
      return PushTuple(Pop(1));
    case kTuple2:
      return PushTuple(Pop(2));
    case kTuple3:
      return PushTuple(Pop(3));
    case kEmptyList:
      return Push({.kind = PickleKind::kList});
    case kAppend:
      return AddTo(PickleKind::kList, Pop(1));
    case kAppends:
      return AddTo(PickleKind::kList, PopToMark());
    case kEmptyDict:
      return Push({.kind = PickleKind::kDict});
    case kSetItem:
      return AddTo(PickleKind::kDict, Pop(2));
    default:
      return AddTo(PickleKind::kDict, PopToMark());
  }
}

Status Machine::PushTuple(StatusOr<std::vector<PickleId>> items) {
  VOLERY_RETURN_IF_ERROR(items.status());
  return Push({.kind = PickleKind::kTuple, .items = *std::move(items)});
}

Status Machine::AddTo(PickleKind kind, StatusOr<std::vector<PickleId>> items) {
  VOLERY_RETURN_IF_ERROR(items.status());
  VOLERY_ASSIGN_OR_RETURN(const PickleId target, Top());
  if (at(target).kind != kind) {
    return Fail("items are added to something that is no ", kind == PickleKind::kDict ? "dict" : "list");
  }
  if (kind == PickleKind::kDict && items->size() % 2 != 0) return Fail("a dict gets a key without a value");
  at(target).items.insert(at(target).items.end(), items->begin(), items->end());
  return OkStatus();
}

Status Machine::Memo(uint8_t opcode) {
  const size_t width = opcode == kPut1 || opcode == kGet1 ? 1 : 4;
  uint64_t slot = memo_.size();
  if (opcode != kMemoize) {
    VOLERY_ASSIGN_OR_RETURN(slot, Number(width));
  }
  if (opcode == kGet1 || opcode == kGet4) {
    auto found = memo_.find(static_cast<uint32_t>(slot));
    if (found == memo_.end()) return Fail("memo slot ", slot, " is read but was never filled");
    return PushId(found->second);
  }
  VOLERY_ASSIGN_OR_RETURN(const PickleId value, Top());
  if (memo_.size() == kMaxNodes) return Fail("more than ", kMaxNodes, " memo slots");
  memo_[static_cast<uint32_t>(slot)] = value;
  return OkStatus();
}

Status Machine::ReadProto() {
  VOLERY_ASSIGN_OR_RETURN(const uint64_t protocol, Number(1));
  if (protocol < 2 || protocol > 5) return Fail("protocol ", protocol, " isn't one of 2 to 5");
  return OkStatus();
}

// Little-endian two's complement; above 64 bits nothing here has a use for it.
Status Machine::ReadLong() {
  VOLERY_ASSIGN_OR_RETURN(const std::string_view raw, TakeCounted(1));
  if (raw.size() > 8) return PushText(PickleKind::kOther, raw);
  uint64_t value = !raw.empty() && (raw.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
  std::memcpy(&value, raw.data(), raw.size());
  return PushNumber(PickleKind::kInt, static_cast<int64_t>(value));
}

Status Machine::ReadStop() {
  if (!marks_.empty() || stack_.size() != 1)
    return Fail("the pickle stops with ", stack_.size(), " values instead of one");
  if (at_ != bytes_.size()) return Fail("the pickle stops ", bytes_.size() - at_, " bytes before its end");
  pickle_.root = stack_.front();
  done_ = true;
  return OkStatus();
}

Status Machine::ReadGlobal() {
  VOLERY_ASSIGN_OR_RETURN(const std::string_view module, TakeLine());
  VOLERY_ASSIGN_OR_RETURN(const std::string_view name, TakeLine());
  return PushGlobal(module, name);
}

Status Machine::ReadStackGlobal() {
  VOLERY_ASSIGN_OR_RETURN(const std::vector<PickleId> names, Pop(2));
  if (at(names[0]).kind != PickleKind::kString || at(names[1]).kind != PickleKind::kString) {
    return Fail("a global is named by something that is no text");
  }
  return PushGlobal(at(names[0]).text, at(names[1]).text);
}

Status Machine::PushGlobal(std::string_view module, std::string_view name) {
  const std::span<const TorchGlobal> globals = TorchGlobals();
  for (size_t row = 0; row < globals.size(); ++row) {
    if (module != globals[row].module || name != globals[row].name) continue;
    return Push(
        {.kind = PickleKind::kGlobal, .dtype = globals[row].dtype, .number = static_cast<int64_t>(row)});
  }
  const std::string full = Cat(Printable(module), ".", Printable(name));
  if (module == "torch" || module.starts_with("torch.")) {
    return Fail("global ", full, " isn't one that volery reads; save a dict of plain dense tensors");
  }
  return Fail("global ", full, ": this file could run code when loaded by other programs; volery refuses it");
}

// ("storage", class, key, device, elements), the only persistent id that torch.save writes.
Status Machine::ReadPersistentId() {
  VOLERY_ASSIGN_OR_RETURN(const std::vector<PickleId> popped, Pop(1));
  const std::vector<PickleId>& id = at(popped[0]).items;
  if (at(popped[0]).kind != PickleKind::kTuple || id.size() != 5 || at(id[0]).kind != PickleKind::kString ||
      at(id[0]).text != "storage" || at(id[1]).kind != PickleKind::kGlobal ||
      RoleOf(id[1]) != TorchRole::kStorageClass || at(id[2]).kind != PickleKind::kString ||
      at(id[3]).kind != PickleKind::kString || at(id[4]).kind != PickleKind::kInt) {
    return Fail("a persistent id isn't (\"storage\", class, key, device, elements)");
  }
  if (at(id[2]).text.size() > kMaxStorageKey)
    return Fail("a storage's key is longer than ", kMaxStorageKey, " bytes");
  return Push({.kind = PickleKind::kStorage,
               .dtype = at(id[1]).dtype,
               .number = at(id[4]).number,
               .text = at(id[2]).text});
}

Status Machine::ReadReduce() {
  VOLERY_ASSIGN_OR_RETURN(const std::vector<PickleId> popped, Pop(2));
  if (at(popped[0]).kind != PickleKind::kGlobal || at(popped[1]).kind != PickleKind::kTuple) {
    return Fail("a call isn't of a global with a tuple of arguments");
  }
  const TorchGlobal& callee = TorchGlobals()[static_cast<size_t>(at(popped[0]).number)];
  const std::vector<PickleId>& args = at(popped[1]).items;
  switch (callee.role) {
    case TorchRole::kOrderedDict:
      if (!args.empty()) return Fail("OrderedDict is called with arguments");
      return Push({.kind = PickleKind::kDict, .ordered = true});
    case TorchRole::kTensorV2:
      return RebuildTensor(args, false);
    case TorchRole::kTensorV3:
      return RebuildTensor(args, true);
    case TorchRole::kParameter:
      return RebuildParameter(args);
    case TorchRole::kSize:
      if (args.size() != 1 || at(args[0]).kind != PickleKind::kTuple)
        return Fail("torch.Size isn't called with a tuple");
      return PushId(args[0]);
    default:
      return Fail(callee.module, ".", callee.name, " is called, which torch.save never does");
  }
}

// (storage, offset, sizes, strides, requires_grad, hooks), version 3 then names the element type of an
// untyped storage. Metadata may follow; where it isn't empty it can change the values (bits for negation and
// conjugation).
Status Machine::RebuildTensor(const std::vector<PickleId>& args, bool names_dtype) {
  const size_t need = names_dtype ? 7 : 6;
  if (args.size() != need && args.size() != need + 1)
    return Fail("a tensor is built from ", args.size(), " arguments");
  const PickleNode& storage = at(args[0]);
  if (storage.kind != PickleKind::kStorage || at(args[1]).kind != PickleKind::kInt || !IsInts(args[2]) ||
      !IsInts(args[3]) || at(args[2]).items.size() != at(args[3]).items.size() ||
      at(args[4]).kind != PickleKind::kBool || !IsHooks(args[5])) {
    return Fail("a tensor isn't built from (storage, offset, sizes, strides, flag, no hooks)");
  }
  if (args.size() > need && !IsHooks(args[need]))
    return Fail("a tensor has metadata, which volery doesn't read");
  const std::optional<DType> dtype = names_dtype ? at(args[6]).dtype : storage.dtype;
  if (!dtype || (names_dtype && (at(args[6]).kind != PickleKind::kGlobal || storage.dtype))) {
    return Fail("a tensor and its storage don't say which element type it has");
  }
  return Push({.kind = PickleKind::kTensor,
               .dtype = dtype,
               .number = at(args[1]).number,
               .items = {args[0], args[2], args[3]}});
}

Status Machine::RebuildParameter(const std::vector<PickleId>& args) {
  if (args.size() != 3 || at(args[0]).kind != PickleKind::kTensor || at(args[1]).kind != PickleKind::kBool ||
      !IsHooks(args[2])) {
    return Fail("a parameter isn't built from (tensor, flag, no hooks)");
  }
  return PushId(args[0]);
}

// Attributes of an OrderedDict (a state_dict carries "_metadata", the versions of its modules) say nothing
// about tensors and are dropped.
Status Machine::ReadBuild() {
  VOLERY_ASSIGN_OR_RETURN(const std::vector<PickleId> state, Pop(1));
  VOLERY_ASSIGN_OR_RETURN(const PickleId target, Top());
  if (at(target).kind != PickleKind::kDict || !at(target).ordered || at(state[0]).kind != PickleKind::kDict) {
    return Fail("attributes are set on something that is no OrderedDict");
  }
  return OkStatus();
}

}  // namespace

StatusOr<Pickle> ReadTorchPickle(std::span<const std::byte> bytes, const std::string& where) {
  if (bytes.size() > kMaxPickleBytes) {
    return InvalidError(where, ": the pickle of ", bytes.size(), " bytes is above the limit of ",
                        kMaxPickleBytes, "; keep tensors in the dict, not Python objects");
  }
  return Machine(bytes, where).Run();
}

}  // namespace volery::formats
