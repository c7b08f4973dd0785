#pragma once
// The CPU kernels behind nn: raw pointers in and out, one table per element type and instruction level. Rows
// are independent: a row's bits depend neither on the other rows of the call nor on the level.
//
//   const Table& kernels = TableFor(Element::kF32);   // the best level of this machine, or what VOLERY_ISA
//   names

namespace volery::nn::kernels {

enum class Element { kF32, kBf16 };

// Keys are stored in panels of this many positions, [panel][head_dim][kPanel]; values as
// [position][value_stride].
constexpr long kPanel = 16;
constexpr long kMaxHeadDim = 512;
constexpr long ValueStride(long head_dim) {
  return (head_dim + 15) / 16 * 16;
}

// One position's queries that share a key head, attending to positions [0, positions).
struct AttendArgs {
  const void* q;     // [group][head_dim]
  const void* keys;  // panels
  const void* values;
  void* out;       // [group][head_dim]
  float* scratch;  // AttendScratch(group, head_dim) floats
  long positions, head_dim, group;
  float scale;
};
constexpr long AttendScratch(long group, long head_dim) {
  return group * (2 * ValueStride(head_dim) + 32);
}

struct RowsArgs {
  const void* x;
  void* out;
  long x_stride, out_stride;  // elements between rows
  long rows, width;
};

struct Table {
  // out = x / sqrt(mean(x^2) + eps), rounded to the element type, times w; rstd (or null): one value a row.
  void (*rms_norm)(const RowsArgs& args, const void* w, float eps, float* rstd);
  // Rotate-half rotary of `heads` vectors of `width` elements a row; cos and sin: [rows][width / 2]. In place
  // is allowed.
  void (*rotate)(const RowsArgs& args, long heads, const float* cos, const float* sin, bool inverse);
  // out = silu(x) * up.
  void (*silu_gate)(const RowsArgs& args, const void* up, long up_stride);
  // Stores one position's key and value of one head.
  void (*append)(const void* k, const void* v, void* keys, void* values, long position, long head_dim);
  void (*attend)(const AttendArgs& args);
};

// One getter a level, each in its own object file.
const Table* PlainTable(Element element);
const Table* Avx2Table(Element element);
const Table* Avx512Table(Element element);

}  // namespace volery::nn::kernels
