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

// Queries of one or more rows, `group` of each that share a key head, attending to the first seen[row] of the
// positions whose keys and values follow. These may come in several calls, in order, each but the last of a
// multiple of 64 positions: `seen` counts from the first one of the call, `scratch` carries what the next call
// needs, and the bits are those of one call. They don't depend on which rows are together in it, either.
struct AttendArgs {
  const void* q;     // [rows][group][head_dim], rows q_row elements apart
  const void* keys;  // panels
  const void* values;
  void* out;          // [rows][group][head_dim], rows out_row apart; written with the last that a row sees
  float* scratch;     // AttendScratch(rows * group, head_dim) floats
  const long* seen;   // [rows]; more than `positions`: the rest comes in later calls; none: all came in earlier ones
  long rows, q_row, out_row, group, head_dim, positions;
  float scale;
  bool resumed;  // not the first call
};
constexpr long AttendScratch(long queries, long head_dim) {
  return queries * (2 * ValueStride(head_dim) + 32);
}

// Layer norms of `groups` parts of `width` elements in each row, all contiguous; w, b: [groups * width].
struct LayerNormArgs {
  const void *x, *w, *b;  // b null: zero
  void* y;
  float* moments;  // [rows * groups][2]: mean, 1 / sqrt(variance + eps); or null
  long rows, groups, width;
  float eps;
};
// Of layer_norm; of rms_norm where the means are 0 and there is one group.
struct NormBackwardArgs {
  const void *x, *w, *dy;
  const float* moments;
  void* dx;
  long rows, groups, width;
};

enum class Activation { kSilu, kGelu, kGeluTanh, kSquaredRelu, kSigmoid, kTanh };
// Backward of activate over `count` elements; up and dup null where there is no gate.
struct ActivationBackwardArgs {
  const void *x, *up, *dy;
  void *dx, *dup;
  long count;
};

struct RowsArgs {
  const void* x;
  void* out;
  long x_stride, out_stride;  // elements between rows
  long rows, width;
};

// Weights of a product are held in panels of this many outputs, [panel][k][kPanelColumns], zero beyond the
// last output.
constexpr long kPanelColumns = 64;
// A sum over k is cut into blocks of this length, each one chain of fused multiply-adds from zero; the blocks
// are added in order. (One chain over all of k has more than 1.5 times the error at k = 1536.)
constexpr long kProductBlock = 128;

// c[m][n] for one panel: the sum over k of a[m * a_row + k * a_step] * panel[k][n].
struct ProductArgs {
  const float* a;
  long a_row, a_step;
  const void* panel;  // of the table's element type
  float* c;           // kPanelColumns values a row
  long c_row;
  long rows, k;
  enum {
    kZero,
    kAdd,
    kChain
  } start;  // the sum; c plus its blocks in order; one chain over all of k begun at c
};

// One row of `count` logits x, z = x / temperature.
struct SoftmaxSums {
  float largest;      // of z; NaN anywhere gives NaN sums
  double sum, slope;  // of e, and of e (z - largest); e = exp(z - largest)
};
// x[i] = scale p (c0 + c1 log p), log p = z - log_partition, p its exponential.
struct SoftmaxGradientArgs {
  void* x;
  long count;
  float temperature, c0, c1, scale;
  double log_partition;
};

// to[j * to_row + i] = from[i * from_row + j], i < rows, j < columns.
struct TransposeArgs {
  const void* from;
  long from_row;
  void* to;
  long to_row;
  long rows, columns;
  bool panel = false;  // rows and to_row are kPanelColumns, `to` is 64-byte aligned: written past the caches
};

// Attention of one training segment, for the queries of one key head. A position's row is path[position]:
// first the tokens of its ancestors, then its own. Tokens of q, out, dout and dq lie q_row elements apart, of
// k and v kv_row; the pointers are those of the head's first column.
struct SegmentArgs {
  const void *q, *k, *v;  // [T][group][head_dim], [T][head_dim]
  void* out;              // [T][group][head_dim]
  float* stats;  // [T][stats_row]: of each query head the largest score and the sum of exp(score - largest)
  long q_row, kv_row, stats_row;
  const long* path;
  long prefix, length;  // own tokens are positions [prefix, length)
  long head_dim, group;
  float scale;
  float* scratch;  // segment_floats, 64-byte aligned
};
struct SegmentBackwardArgs {
  SegmentArgs segment;  // out and stats as the forward pass left them
  const void* dout;
  void* dq;
  float *dk, *dv;                // of own tokens, rows kv_row apart
  float *dk_prefix, *dv_prefix;  // [prefix][head_dim]: this segment's share of its ancestors' gradients
};
// Tokens whose queries are computed together.
constexpr long SegmentTokens(long group) {
  return group < 96 ? 96 / group : 1;
}

// One head of RWKV's recurrence over consecutive tokens, `step` elements apart in r, k, v and y; see wkv.h for
// its equations. width is a multiple of 16, at most kMaxScanWidth.
constexpr long kMaxScanWidth = 128;
struct WkvArgs {
  const void *r, *k, *v;
  void* y;
  long step;
  const float* decay;  // before the two exponentials
  long decay_step;     // 0: the same for all tokens
  const float* u;      // null: no bonus
  float* state;        // [width of k][width of v]; updated
  long tokens, width;
  bool scale_key;  // k (1 - w) instead of k
};
struct WkvBackwardArgs {
  WkvArgs forward;  // its state is the one before the first token, and isn't changed; y isn't read
  const void* dy;
  void *dr, *dk, *dv;
  float *ddecay, *du;  // du is added to; ddecay too where decay_step is 0
  float* dstate;       // in: gradient of the state after the last token; out: of the one before the first
  float* scratch;      // wkv_floats, 64-byte aligned
};

// Mixes of a token's row with the row of the token before it, columns [begin, end) of all rows:
// out = z + (before - z) (mu + m) for each stream. Rows of z, m and out lie `step` elements apart.
constexpr long kMaxStreams = 8;
struct ShiftMixArgs {
  const void* z;
  const void* const* before;  // a pointer a row
  long rows, step, begin, end, streams;
  const void *mu[kMaxStreams], *m[kMaxStreams];  // m null: zero
  void* out[kMaxStreams];
  bool of_current;  // mu is the share of z instead: 1 - mu in its place
};
struct ShiftMixBackwardArgs {
  ShiftMixArgs forward;  // out isn't read
  const void* dout[kMaxStreams];
  void* dm[kMaxStreams];     // null: not wanted
  float* dmu[kMaxStreams];   // added to; null: not wanted
  float *dz, *dbefore;       // rows `step` apart
};

struct Table {
  // out = x / (sqrt(mean(x^2) + eps) + added), rounded to the element type, times w; moments (or null): 0 and
  // the factor, a row.
  void (*rms_norm)(const RowsArgs& args, const void* w, float eps, float added, float* moments);
  // Rotate-half rotary of `heads` vectors of `width` elements a row; cos and sin: [rows][width / 2]. In place
  // is allowed.
  void (*rotate)(const RowsArgs& args, long heads, const float* cos, const float* sin, bool inverse);
  // out = f(x); with `up` (or null): f(x), rounded to the element type, times up.
  void (*activate)(Activation f, const RowsArgs& args, const void* up, long up_stride);
  // dx = dy up f'(x), dup = dy f(x).
  void (*activate_backward)(Activation f, const ActivationBackwardArgs& args);
  // With g = dy w, n = x rstd: dx = rstd (g - n mean(g n)).
  void (*rms_norm_backward)(const NormBackwardArgs& args);
  // y = (x - mean) rstd w + b, rounded once; the variance is that of all `width` elements.
  void (*layer_norm)(const LayerNormArgs& args);
  // With g = dy w, n = (x - mean) rstd: dx = rstd (g - mean(g) - n mean(g n)).
  void (*layer_norm_backward)(const NormBackwardArgs& args);
  // Of both norms: dw[i] += sum over rows, in order, of dy n, and db[i] += that of dy, for columns [begin,
  // end); either may be null.
  void (*norm_weight)(const NormBackwardArgs& args, float* dw, float* db, long begin, long end);
  // Stores one position's key and value of one head.
  void (*append)(const void* k, const void* v, void* keys, void* values, long position, long head_dim);
  void (*attend)(const AttendArgs& args);
  SoftmaxSums (*softmax_sums)(const void* x, long count, float temperature);
  void (*softmax_gradient)(const SoftmaxGradientArgs& args);
  void (*product)(const ProductArgs& args);
  void (*transpose)(const TransposeArgs& args);
  // Elements to float32.
  void (*widen)(const void* from, float* to, long count);
  // Bits as `attend` has them for the same keys.
  void (*segment_forward)(const SegmentArgs& args);
  void (*segment_backward)(const SegmentBackwardArgs& args);
  // Floats of scratch that the two need.
  long (*segment_floats)(const SegmentArgs& args, bool backward);
  void (*wkv)(const WkvArgs& args);
  void (*wkv_backward)(const WkvBackwardArgs& args);
  long (*wkv_floats)(long tokens, long width);
  void (*shift_mix)(const ShiftMixArgs& args);
  void (*shift_mix_backward)(const ShiftMixBackwardArgs& args);
};

// One getter a level, each in its own object file.
const Table* PlainTable(Element element);
const Table* Avx2Table(Element element);
const Table* Avx512Table(Element element);

}  // namespace volery::nn::kernels
