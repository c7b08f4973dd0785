#include "products.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "parallel.h"
#include "volery/nn/linear.h"

namespace volery::nn {
namespace {

using kernels::Element;
using kernels::kPanelColumns;
using kernels::ProductArgs;

static_assert(kernels::kProductBlock == kSumBlock);
constexpr int64_t kRowTile = 6;         // of the kernels
constexpr int64_t kSlab = 512;          // steps of k that are packed at a time: 128 KiB, half an L2
constexpr int64_t kRowsAhead = 16;      // that packing fetches: rows lie too far apart for the processor to see it
constexpr int64_t kEdgeRows = 48;       // rows of the buffer for the last, partial panel
constexpr int64_t kFewRows = 12;        // up to here a product is bound by reading the weights
constexpr int64_t kRowTask = 96;        // rows of a task that packs its own rows
constexpr int64_t kResident = 8 << 20;  // bytes of x that are kept in cache while all panels pass

int64_t Panels(int64_t columns) {
  return (columns + kPanelColumns - 1) / kPanelColumns;
}

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// The `part`-th of `parts` ranges of [0, rows), cut at whole tiles.
Range RowRange(int64_t rows, int64_t part, int64_t parts) {
  const int64_t tiles = (rows + kRowTile - 1) / kRowTile;
  return {std::min(rows, tiles * part / parts * kRowTile),
          std::min(rows, tiles * (part + 1) / parts * kRowTile)};
}

// Runs the kernel, by way of a buffer where the panel has fewer than 64 columns.
void RunPanel(const kernels::Table& table, const ProductArgs& args, int64_t columns) {
  if (columns == kPanelColumns) return table.product(args);
  alignas(64) float buffer[kEdgeRows * kPanelColumns] = {};
  for (int64_t m = 0; m < args.rows; m += kEdgeRows) {
    const int64_t rows = std::min<int64_t>(kEdgeRows, args.rows - m);
    float* c = args.c + m * args.c_row;
    if (args.start != ProductArgs::kZero) {
      for (int64_t i = 0; i < rows; i++)
        std::memcpy(buffer + i * kPanelColumns, c + i * args.c_row, columns * sizeof(float));
    }
    ProductArgs part = args;
    part.a += m * args.a_row;
    part.rows = rows;
    part.c = buffer;
    part.c_row = kPanelColumns;
    table.product(part);
    for (int64_t i = 0; i < rows; i++)
      std::memcpy(c + i * args.c_row, buffer + i * kPanelColumns, columns * sizeof(float));
  }
}

// In how many ranges the rows are cut, so that all threads are busy to the end: the fewest that waste less
// than a twentieth, since each range reads (or packs) the panels again.
int64_t RowParts(int64_t groups, int64_t rows) {
  constexpr int64_t kLeastRows = 24;
  const int64_t threads = CurrentPool().threads();
  const int64_t most =
      rows <= kFewRows ? 1 : std::clamp<int64_t>(rows / kLeastRows, 1, std::min<int64_t>(threads, 16));
  int64_t best = 1;
  double best_share = 0;
  for (int64_t parts = 1; parts <= most; parts++) {
    const int64_t tasks = groups * parts, turns = (tasks + threads - 1) / threads;
    const double share = static_cast<double>(tasks) / static_cast<double>(turns * threads);
    if (share > best_share + 1e-9) best = parts, best_share = share;
    if (share >= 0.95) break;
  }
  return best;
}

// body(panels, rows of the product) in tasks: groups of panels, times row ranges where there are few panels.
template <class Body>
void ForPanelTasks(int64_t panels, int64_t rows, const Body& body) {
  const int64_t threads = CurrentPool().threads();
  const int64_t groups = threads == 1 ? 1 : std::min(panels, threads * 16),
                row_parts = RowParts(groups, rows);
  ParallelTasks(groups * row_parts, [&](int64_t task) {
    const int64_t g = task / row_parts;
    body(Range{panels * g / groups, panels * (g + 1) / groups}, RowRange(rows, task % row_parts, row_parts));
  });
}

// A matrix B whose parts of 64 columns x some k are packed, in float32. B[k][n] is element k * row + n of the
// tensor, or n * row + k where it is transposed.
class SourceB {
 public:
  SourceB(const at::Tensor& data, bool transposed)
      : data_(data), row_(data.size(1)), transposed_(transposed), table_(TableFor(ElementOf(data))) {}

  void Pack(Range k, int64_t n, int64_t columns, float* panel) const {
    if (columns < kPanelColumns) std::memset(panel, 0, k.size() * kPanelColumns * sizeof(float));
    if (!transposed_) {
      const char* from = At(data_, k.begin * row_ + n);
      const int64_t step = row_ * data_.element_size(), size = columns * data_.element_size();
      for (int64_t i = 0; i < k.size(); i++) {
        if (i + kRowsAhead < k.size())
          for (int64_t byte = 0; byte < size; byte += 64) __builtin_prefetch(from + (i + kRowsAhead) * step + byte);
        table_.widen(from + i * step, panel + i * kPanelColumns, columns);
      }
      return;
    }
    const float* from = reinterpret_cast<const float*>(At(data_, n * row_ + k.begin));
    int64_t from_row = row_;
    if (data_.scalar_type() != at::kFloat) {
      float* wide = ThreadScratch(2, kPanelColumns * k.size());
      for (int64_t i = 0; i < columns; i++)
        table_.widen(At(data_, (n + i) * row_ + k.begin), wide + i * k.size(), k.size());
      from = wide;
      from_row = k.size();
    }
    TableFor(Element::kF32).transpose({from, from_row, panel, kPanelColumns, columns, k.size()});
  }

 private:
  const at::Tensor& data_;
  int64_t row_;
  bool transposed_;
  const kernels::Table& table_;
};

// c[rows][columns] = a[rows][k] b, packing b as it goes.
void MultiplyUnpacked(const float* a, const SourceB& b, float* c, int64_t rows, int64_t columns,
                      int64_t k_size) {
  const kernels::Table& table = TableFor(Element::kF32);
  // Where x is large, it passes in slices of k that stay in cache while every panel reads them.
  const int64_t slice = std::max(
      kSlab, kResident / static_cast<int64_t>(sizeof(float)) / std::max<int64_t>(rows, 1) / kSlab * kSlab);
  if (k_size == 0) std::memset(c, 0, rows * columns * sizeof(float));
  for (int64_t first = 0; first < k_size; first += slice) {
    const int64_t last = std::min(k_size, first + slice);
    ForPanelTasks(Panels(columns), rows, [&](Range panels, Range m) {
      float* packed = ThreadScratch(0, kSlab * kPanelColumns);
      for (int64_t p = panels.begin; p < panels.end; p++) {
        const int64_t n = p * kPanelColumns, width = std::min(kPanelColumns, columns - n);
        for (int64_t k = first; k < last; k += kSlab) {
          const Range part{k, std::min(last, k + kSlab)};
          b.Pack(part, n, width, packed);
          RunPanel(table,
                   {a + m.begin * k_size + k, k_size, 1, packed, c + m.begin * columns + n, columns, m.size(),
                    part.size(), k == 0 ? ProductArgs::kZero : ProductArgs::kAdd},
                   width);
        }
      }
    });
  }
}

}  // namespace

at::Tensor PackPanels(const std::vector<at::Tensor>& weights) {
  const int64_t in = weights.front().size(1);
  int64_t out = 0;
  for (const at::Tensor& w : weights) out += w.size(0);
  const at::Tensor packed = at::empty({Panels(out), in, kPanelColumns}, weights.front().options());
  const kernels::Table& table = TableFor(ElementOf(packed));
  ParallelRows(packed.size(0), in * 30, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; p++) {
      char* to = At(packed, p * in * kPanelColumns);
      const Range columns{p * kPanelColumns, (p + 1) * kPanelColumns};
      if (columns.end > out) std::memset(to, 0, in * kPanelColumns * packed.element_size());
      int64_t first = 0;  // output of the first row of w
      for (const at::Tensor& w : weights) {
        const Range part{std::max(columns.begin, first), std::min(columns.end, first + w.size(0))};
        if (part.begin < part.end)
          table.transpose({At(w, (part.begin - first) * in), in,
                           to + (part.begin - columns.begin) * packed.element_size(), kPanelColumns,
                           part.size(), in, part.size() == kPanelColumns});
        first += w.size(0);
      }
    }
  });
  return packed;
}

at::Tensor RowsOfPanels(const at::Tensor& panels, const at::Tensor& index) {
  const int64_t in = panels.size(1), count = index.size(0), limit = panels.size(0) * kPanelColumns;
  at::Tensor out = at::empty({count, in}, panels.options());
  const kernels::Table& table = TableFor(ElementOf(panels));
  const int64_t* rows = index.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; i++) {
    TORCH_CHECK(rows[i] >= 0 && rows[i] < limit, "weight row ", rows[i], " of ", limit);
    table.transpose({At(panels, rows[i] / kPanelColumns * in * kPanelColumns + rows[i] % kPanelColumns),
                     kPanelColumns, At(out, i * in), in, in, 1});
  }
  return out;
}

void MultiplyPacked(const at::Tensor& x, const at::Tensor& panels, const at::Tensor& y) {
  const int64_t rows = x.size(0), k = x.size(1), out = y.size(1), panel_size = k * kPanelColumns;
  const kernels::Table& table = TableFor(ElementOf(panels));
  const float* a = x.const_data_ptr<float>();
  float* c = y.data_ptr<float>();
  ForPanelTasks(panels.size(0), rows, [&](Range range, Range m) {
    for (int64_t p = range.begin; p < range.end; p++) {
      const int64_t n = p * kPanelColumns;
      RunPanel(table,
               {a + m.begin * k, k, 1, At(panels, p * panel_size), c + m.begin * out + n, out, m.size(), k,
                ProductArgs::kZero},
               std::min(kPanelColumns, out - n));
    }
  });
}

void MultiplyTransposed(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y) {
  MultiplyUnpacked(x.const_data_ptr<float>(), SourceB(weight, true), y.data_ptr<float>(), x.size(0),
                   weight.size(0), weight.size(1));
}

void Multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y) {
  MultiplyUnpacked(x.const_data_ptr<float>(), SourceB(weight, false), y.data_ptr<float>(), x.size(0),
                   weight.size(1), weight.size(0));
}

void AccumulateOuter(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& g) {
  const int64_t rows = x.size(0), in = x.size(1), out = dy.size(1), panels = Panels(in);
  if (rows == 0) return;
  const kernels::Table& table = TableFor(Element::kF32);
  const SourceB source(x, false);
  float* packed = ThreadScratch(1, panels * rows * kPanelColumns);
  ParallelTasks(std::min(panels, ComputePool::kMaxTasks), [&](int64_t p) {
    for (; p < panels; p += ComputePool::kMaxTasks)
      source.Pack({0, rows}, p * kPanelColumns, std::min(kPanelColumns, in - p * kPanelColumns),
                  packed + p * rows * kPanelColumns);
  });
  const float* dy_data = dy.const_data_ptr<float>();
  float* c = g.data_ptr<float>();
  const int64_t tasks = std::min<int64_t>((out + kRowTask - 1) / kRowTask, ComputePool::kMaxTasks);
  ParallelTasks(tasks, [&](int64_t task) {
    const Range range = RowRange(out, task, tasks);
    for (int64_t begin = range.begin; begin < range.end; begin += kRowTask) {
      const int64_t count = std::min(kRowTask, range.end - begin);
      float* a = ThreadScratch(0, count * rows);
      table.transpose({dy_data + begin, out, a, rows, rows, count});
      for (int64_t p = 0; p < panels; p++)
        RunPanel(table,
                 {a, rows, 1, packed + p * rows * kPanelColumns, c + begin * in + p * kPanelColumns, in,
                  count, rows, ProductArgs::kChain},
                 std::min(kPanelColumns, in - p * kPanelColumns));
    }
  });
}

}  // namespace volery::nn
