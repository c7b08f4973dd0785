#include "core/formats/ggml_types.h"

#include <bit>
#include <cstring>

namespace volery::formats {
namespace {

using Decoder = void (*)(const uint8_t* blocks, int64_t count, float* out);

constexpr int64_t kBlock = 32;  // of Q4_0, Q4_1 and Q8_0

float Bf16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = bits >> 10 & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal; exact
  return sign != 0 ? -magnitude : magnitude;
}

uint16_t Load16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, 2);
  return value;
}

void DecodeF32(const uint8_t* in, int64_t count, float* out) {
  std::memcpy(out, in, static_cast<size_t>(count) * 4);
}

void DecodeF16(const uint8_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = HalfToFloat(Load16(in + 2 * i));
}

void DecodeBf16(const uint8_t* in, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = Bf16ToFloat(Load16(in + 2 * i));
}

// Block: f16 scale, 16 bytes; low nibbles are elements 0-15, high nibbles 16-31, each minus 8.
void DecodeQ40(const uint8_t* in, int64_t count, float* out) {
  for (; count > 0; count -= kBlock, in += 18, out += kBlock) {
    const float scale = HalfToFloat(Load16(in));
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>((in[2 + i] & 15) - 8) * scale;
      out[i + 16] = static_cast<float>((in[2 + i] >> 4) - 8) * scale;
    }
  }
}

// Block: f16 scale, f16 minimum, 16 bytes of nibbles as above, unsigned.
void DecodeQ41(const uint8_t* in, int64_t count, float* out) {
  for (; count > 0; count -= kBlock, in += 20, out += kBlock) {
    const float scale = HalfToFloat(Load16(in));
    const float minimum = HalfToFloat(Load16(in + 2));
    for (int i = 0; i < 16; ++i) {
      out[i] = static_cast<float>(in[4 + i] & 15) * scale + minimum;
      out[i + 16] = static_cast<float>(in[4 + i] >> 4) * scale + minimum;
    }
  }
}

// Block: f16 scale, 32 signed bytes.
void DecodeQ80(const uint8_t* in, int64_t count, float* out) {
  for (; count > 0; count -= kBlock, in += 34, out += kBlock) {
    const float scale = HalfToFloat(Load16(in));
    for (int i = 0; i < kBlock; ++i) out[i] = static_cast<float>(static_cast<int8_t>(in[2 + i])) * scale;
  }
}

struct TypeRow {
  uint32_t id;
  const char* name;
  int64_t block;
  int64_t bytes;
  Decoder decode;
};

constexpr TypeRow kTypes[] = {
    {0, "F32", 1, 4, DecodeF32},       {1, "F16", 1, 2, DecodeF16},       {2, "Q4_0", 32, 18, DecodeQ40},
    {3, "Q4_1", 32, 20, DecodeQ41},    {6, "Q5_0", 32, 22, nullptr},      {7, "Q5_1", 32, 24, nullptr},
    {8, "Q8_0", 32, 34, DecodeQ80},    {9, "Q8_1", 32, 40, nullptr},      {10, "Q2_K", 256, 84, nullptr},
    {11, "Q3_K", 256, 110, nullptr},   {12, "Q4_K", 256, 144, nullptr},   {13, "Q5_K", 256, 176, nullptr},
    {14, "Q6_K", 256, 210, nullptr},   {15, "Q8_K", 256, 292, nullptr},   {16, "IQ2_XXS", 256, 66, nullptr},
    {17, "IQ2_XS", 256, 74, nullptr},  {18, "IQ3_XXS", 256, 98, nullptr}, {19, "IQ1_S", 256, 50, nullptr},
    {20, "IQ4_NL", 32, 18, nullptr},   {21, "IQ3_S", 256, 110, nullptr},  {22, "IQ2_S", 256, 82, nullptr},
    {23, "IQ4_XS", 256, 136, nullptr}, {24, "I8", 1, 1, nullptr},         {25, "I16", 1, 2, nullptr},
    {26, "I32", 1, 4, nullptr},        {27, "I64", 1, 8, nullptr},        {28, "F64", 1, 8, nullptr},
    {29, "IQ1_M", 256, 56, nullptr},   {30, "BF16", 1, 2, DecodeBf16},    {34, "TQ1_0", 256, 54, nullptr},
    {35, "TQ2_0", 256, 66, nullptr},   {39, "MXFP4", 32, 17, nullptr},
};

const TypeRow* FindRow(uint32_t id) {
  for (const TypeRow& row : kTypes) {
    if (row.id == id) return &row;
  }
  return nullptr;
}

std::string SupportedNames() {
  std::string names;
  for (const TypeRow& row : kTypes) {
    if (row.decode != nullptr) names += (names.empty() ? "" : ", ") + std::string(row.name);
  }
  return names;
}

}  // namespace

std::optional<GgmlTypeInfo> FindGgmlType(uint32_t id) {
  const TypeRow* row = FindRow(id);
  if (row == nullptr) return std::nullopt;
  return GgmlTypeInfo{static_cast<GgmlType>(id), row->name, row->block, row->bytes};
}

const char* GgmlTypeName(GgmlType type) {
  const TypeRow* row = FindRow(static_cast<uint32_t>(type));
  return row == nullptr ? "unknown" : row->name;
}

bool CanDequantise(GgmlType type) {
  const TypeRow* row = FindRow(static_cast<uint32_t>(type));
  return row != nullptr && row->decode != nullptr;
}

Status Dequantise(GgmlType type, std::span<const std::byte> bytes, float* out, int64_t count) {
  const TypeRow* row = FindRow(static_cast<uint32_t>(type));
  if (row == nullptr || row->decode == nullptr) {
    return InvalidError("tensors of type ", GgmlTypeName(type), " (id ", static_cast<uint32_t>(type),
                        ") can't be read; supported are ", SupportedNames(),
                        ". Convert the file to one of these");
  }
  if (count < 0 || count % row->block != 0 ||
      static_cast<uint64_t>(count / row->block) != bytes.size() / row->bytes ||
      bytes.size() % row->bytes != 0) {
    return InvalidError(count, " elements of type ", row->name, " don't fit ", bytes.size(),
                        " bytes (blocks of ", row->block, " elements in ", row->bytes, " bytes)");
  }
  if (count > 0) row->decode(reinterpret_cast<const uint8_t*>(bytes.data()), count, out);
  return OkStatus();
}

}  // namespace volery::formats
