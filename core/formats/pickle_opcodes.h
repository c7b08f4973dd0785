#pragma once
// The opcodes of Python's pickle format, protocols 2 to 5, that torch.save writes for dicts of tensors.
// Others exist; they are refused.

#include <cstdint>

namespace volery::formats {

enum Opcode : uint8_t {
  kMark = '(',
  kStop = '.',
  kReduce = 'R',
  kBuild = 'b',
  kGlobalOp = 'c',
  kStackGlobal = 0x93,
  kPersistentId = 'Q',
  kProto = 0x80,
  kFrame = 0x95,
  kNoneOp = 'N',
  kTrue = 0x88,
  kFalse = 0x89,
  kInt1 = 'K',
  kInt2 = 'M',
  kInt4 = 'J',
  kLong1 = 0x8a,
  kFloat8 = 'G',
  kUnicode1 = 0x8c,
  kUnicode4 = 'X',
  kUnicode8 = 0x8d,
  kBytes1 = 'C',
  kBytes4 = 'B',
  kBytes8 = 0x8e,
  kEmptyTuple = ')',
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kEmptyList = ']',
  kAppend = 'a',
  kAppends = 'e',
  kEmptyDict = '}',
  kSetItem = 's',
  kSetItems = 'u',
  kPut1 = 'q',
  kPut4 = 'r',
  kGet1 = 'h',
  kGet4 = 'j',
  kMemoize = 0x94,
};

}  // namespace volery::formats
