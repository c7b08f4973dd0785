#include "volery/nn/token_shift.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel.h"
#include "segments.h"
#include "weight_gradient.h"

namespace volery::nn {

struct TokenShift::Plan : torch::CustomClassHolder {
  int64_t tokens = 0, segments = 0;
  std::vector<int64_t> before;  // of each row: the row before it, or -1 - segment where the segment begins
};

namespace {

using Plan = TokenShift::Plan;
using kernels::kMaxStreams;
using kernels::ShiftMixArgs;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kColumns = 64;  // of a task, at least

// body(begin, end) over ranges of columns, few and wide.
template <class Body>
void ForColumns(int64_t columns, int64_t rows, const Body& body) {
  const int64_t parts = (columns + kColumns - 1) / kColumns;
  const int64_t tasks = rows * columns < 20'000 ? 1 : std::min<int64_t>(parts, CurrentPool().threads() * 2);
  ParallelTasks(tasks, [&](int64_t task) {
    body(parts * task / tasks * kColumns, std::min(columns, parts * (task + 1) / tasks * kColumns));
  });
}

void Check(const at::Tensor& z, const std::vector<MixStream>& streams) {
  TORCH_CHECK(z.dim() == 2 && streams.size() <= kMaxStreams, "token shift: z ", z.sizes(), ", ", streams.size(),
              " streams");
  for (const MixStream& s : streams)
    TORCH_CHECK(s.mu.numel() == z.size(1) && s.mu.scalar_type() == z.scalar_type() &&
                    (!s.m.defined() || (s.m.sizes() == z.sizes() && s.m.scalar_type() == z.scalar_type())),
                "token shift: z ", z.sizes(), " ", z.scalar_type(), ", mu ", s.mu.sizes(), " ",
                s.mu.scalar_type());
}

std::vector<MixStream> Contiguous(const std::vector<MixStream>& streams) {
  std::vector<MixStream> out;
  for (const MixStream& s : streams)
    out.push_back({s.mu.contiguous(), s.m.defined() ? s.m.contiguous() : at::Tensor()});
  return out;
}

ShiftMixArgs Arguments(const at::Tensor& z, const std::vector<const void*>& before,
                       const std::vector<MixStream>& streams, MuOf of) {
  ShiftMixArgs args{};
  args.z = z.data_ptr();
  args.before = before.data();
  args.rows = z.size(0);
  args.step = z.size(1);
  args.streams = static_cast<long>(streams.size());
  args.of_current = of == MuOf::kCurrent;
  for (size_t s = 0; s < streams.size(); s++) {
    args.mu[s] = streams[s].mu.data_ptr();
    args.m[s] = streams[s].m.defined() ? streams[s].m.data_ptr() : nullptr;
  }
  return args;
}

std::vector<at::Tensor> ByKernel(const at::Tensor& z, const std::vector<const void*>& before,
                                 const std::vector<MixStream>& streams, MuOf of) {
  ShiftMixArgs args = Arguments(z, before, streams, of);
  std::vector<at::Tensor> out;
  for (size_t s = 0; s < streams.size(); s++) {
    out.push_back(at::empty(z.sizes(), z.options().requires_grad(false)));
    args.out[s] = out.back().data_ptr();
  }
  const kernels::Table& table = TableFor(ElementOf(z));
  ForColumns(z.size(1), z.size(0) * args.streams, [&](int64_t begin, int64_t end) {
    ShiftMixArgs part = args;
    part.begin = begin;
    part.end = end;
    table.shift_mix(part);
  });
  return out;
}

at::Tensor OneByAten(const at::Tensor& z, const at::Tensor& before, const MixStream& stream, MuOf of) {
  at::Tensor part = stream.mu.reshape({1, -1});
  if (of == MuOf::kCurrent) part = 1 - part;
  if (stream.m.defined()) part = part + stream.m;
  return z + (before - z) * part;
}

std::vector<at::Tensor> ByAten(const at::Tensor& z, const at::Tensor& before,
                               const std::vector<MixStream>& streams, MuOf of) {
  std::vector<at::Tensor> out;
  for (const MixStream& s : streams) out.push_back(OneByAten(z, before, s, of));
  return out;
}

// Where each row's predecessor lies; `zeros` holds a row of them.
std::vector<const void*> Pointers(const Plan& plan, const at::Tensor& z, const at::Tensor& initial,
                                  const at::Tensor& zeros) {
  std::vector<const void*> out(plan.before.size());
  for (size_t t = 0; t < out.size(); t++) {
    const int64_t b = plan.before[t];
    out[t] = b >= 0 ? At(z, b * z.size(1))
                    : (initial.defined() ? At(initial, (-1 - b) * z.size(1)) : At(zeros, 0));
  }
  return out;
}

// What the function takes and gives gradients to, flat: only tensors that are there.
struct MixInputs {
  at::Tensor z, initial;
  std::vector<MixStream> streams;

  variable_list Flat() const {
    variable_list out = {z};
    for (const MixStream& s : streams) out.push_back(s.mu);
    for (const MixStream& s : streams)
      if (s.m.defined()) out.push_back(s.m);
    if (initial.defined()) out.push_back(initial);
    return out;
  }
  // `mask`: bit s says that stream s has m; the last bit that there is an initial row.
  int64_t Mask() const {
    int64_t mask = initial.defined() ? int64_t{1} << kMaxStreams : 0;
    for (size_t s = 0; s < streams.size(); s++) mask |= static_cast<int64_t>(streams[s].m.defined()) << s;
    return mask;
  }
  MixInputs() = default;
  MixInputs(const variable_list& flat, int64_t count, int64_t mask) : z(flat[0]), streams(count) {
    size_t next = 1;
    for (MixStream& s : streams) s.mu = flat[next++];
    for (int64_t s = 0; s < count; s++)
      if (mask >> s & 1) streams[s].m = flat[next++];
    if (mask >> kMaxStreams & 1) initial = flat[next];
  }
};

struct MixFunction : torch::autograd::Function<MixFunction> {
  static variable_list forward(AutogradContext* ctx, at::TensorList flat, int64_t count, int64_t mask,
                               const c10::intrusive_ptr<Plan>& plan, bool of_current) {
    ctx->save_for_backward(flat.vec());
    ctx->saved_data["count"] = count;
    ctx->saved_data["mask"] = mask;
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    ctx->saved_data["of_current"] = of_current;
    const MixInputs in(flat.vec(), count, mask);
    const at::Tensor zeros = at::zeros({in.z.size(1)}, in.z.options().requires_grad(false));
    return ByKernel(in.z, Pointers(*plan, in.z, in.initial, zeros), in.streams, Of(of_current));
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<Plan>(ctx->saved_data["plan"].toCapsule());
    const MixInputs in(saved, ctx->saved_data["count"].toInt(), ctx->saved_data["mask"].toInt());
    const at::Tensor& z = in.z;
    const auto plain = z.options().requires_grad(false), floats = plain.dtype(at::kFloat);
    const at::Tensor zeros = at::zeros({z.size(1)}, plain), dz = at::empty(z.sizes(), floats),
                     dbefore = at::empty(z.sizes(), floats);
    const std::vector<const void*> before = Pointers(*plan, z, in.initial, zeros);
    kernels::ShiftMixBackwardArgs args{};
    args.forward = Arguments(z, before, in.streams, Of(ctx->saved_data["of_current"].toBool()));
    args.dz = dz.data_ptr<float>();
    args.dbefore = dbefore.data_ptr<float>();
    const size_t count = in.streams.size();
    variable_list out(saved.size() + 4);
    std::vector<WeightGradient> of_mu(count);
    size_t m = 1 + count;
    for (size_t s = 0; s < count; s++) {
      grads[s] = grads[s].defined() ? grads[s].to(z.scalar_type()).contiguous() : at::zeros(z.sizes(), plain);
      args.dout[s] = grads[s].data_ptr();
      if (ctx->needs_input_grad(1 + s)) {
        of_mu[s] = GradientOf(in.streams[s].mu);
        args.dmu[s] = of_mu[s].sum.data_ptr<float>();
      }
      if (!in.streams[s].m.defined()) continue;
      if (ctx->needs_input_grad(m)) {
        out[m] = at::empty(z.sizes(), plain);
        args.dm[s] = out[m].data_ptr();
      }
      m++;
    }
    at::Tensor dinitial;
    if (in.initial.defined() && ctx->needs_input_grad(m)) dinitial = at::zeros(in.initial.sizes(), floats);
    const kernels::Table& table = TableFor(ElementOf(z));
    ForColumns(z.size(1), z.size(0) * args.forward.streams, [&](int64_t begin, int64_t end) {
      kernels::ShiftMixBackwardArgs part = args;
      part.forward.begin = begin;
      part.forward.end = end;
      table.shift_mix_backward(part);
      AddToPredecessors(*plan, dbefore, dz, dinitial, begin, end);
    });
    out[0] = dz.to(z.scalar_type());
    for (size_t s = 0; s < count; s++)
      if (of_mu[s].sum.defined()) out[1 + s] = of_mu[s].Returned(in.streams[s].mu);
    if (dinitial.defined()) out[m] = dinitial.to(in.initial.scalar_type());
    return out;
  }

 private:
  static MuOf Of(bool of_current) { return of_current ? MuOf::kCurrent : MuOf::kBefore; }
  // In the order of the rows, so that the children of one prompt leave the same bits whatever else is there.
  static void AddToPredecessors(const Plan& plan, const at::Tensor& dbefore, const at::Tensor& dz,
                                const at::Tensor& dinitial, int64_t begin, int64_t end) {
    const int64_t width = dz.size(1);
    const float* from = dbefore.const_data_ptr<float>();
    for (size_t t = 0; t < plan.before.size(); t++) {
      const int64_t b = plan.before[t];
      if (b < 0 && !dinitial.defined()) continue;
      float* to = b >= 0 ? dz.data_ptr<float>() + b * width : dinitial.data_ptr<float>() + (-1 - b) * width;
      for (int64_t i = begin; i < end; i++) to[i] += from[static_cast<int64_t>(t) * width + i];
    }
  }
};

at::Tensor BeforeByAten(const Plan& plan, const at::Tensor& z, const at::Tensor& initial) {
  // Rows of [z; initial], initial zeros where there is none.
  const at::Tensor first =
      initial.defined() ? initial : at::zeros({plan.segments, z.size(1)}, z.options().requires_grad(false));
  std::vector<int64_t> index;
  for (int64_t b : plan.before) index.push_back(b >= 0 ? b : plan.tokens - 1 - b);
  return at::cat({z, first.to(z.scalar_type())}).index_select(0, at::tensor(index, at::kLong).to(z.device()));
}

bool AnyNeedsGrad(const variable_list& inputs) {
  for (const at::Tensor& x : inputs)
    if (x.requires_grad()) return true;
  return false;
}

}  // namespace

TokenShift::TokenShift(const std::vector<SegmentRange>& segments, int64_t tokens)
    : plan_(c10::make_intrusive<Plan>()) {
  CheckSegments(segments, tokens);
  plan_->tokens = tokens;
  plan_->segments = static_cast<int64_t>(segments.size());
  for (size_t i = 0; i < segments.size(); i++) {
    const SegmentRange& s = segments[i];
    plan_->before.push_back(s.parent >= 0 ? segments[s.parent].end - 1 : -1 - static_cast<int64_t>(i));
    for (int64_t t = s.begin; t + 1 < s.end; t++) plan_->before.push_back(t);
  }
}
TokenShift::TokenShift(const TokenShift&) = default;
TokenShift::TokenShift(TokenShift&&) noexcept = default;
TokenShift::~TokenShift() = default;

std::vector<at::Tensor> TokenShift::Mix(const at::Tensor& z, const std::vector<MixStream>& streams, MuOf of,
                                        const at::Tensor& initial) const {
  Check(z, streams);
  TORCH_CHECK(z.size(0) == plan_->tokens, "token shift: ", z.size(0), " rows of ", plan_->tokens);
  TORCH_CHECK(!initial.defined() || (initial.dim() == 2 && initial.size(0) == plan_->segments &&
                                     initial.size(1) == z.size(1)),
              "token shift: initial ", initial.sizes());
  if (!HasKernels(z)) return ByAten(z, BeforeByAten(*plan_, z, initial), streams, of);
  MixInputs in;
  in.z = z.contiguous();
  in.initial = initial.defined() ? initial.to(z.scalar_type()).contiguous() : initial;
  in.streams = Contiguous(streams);
  const variable_list flat = in.Flat();
  if (at::GradMode::is_enabled() && AnyNeedsGrad(flat))
    return MixFunction::apply(at::TensorList(flat), static_cast<int64_t>(streams.size()), in.Mask(), plan_,
                              of == MuOf::kCurrent);
  const at::Tensor zeros = at::zeros({z.size(1)}, z.options());
  return ByKernel(in.z, Pointers(*plan_, in.z, in.initial, zeros), in.streams, of);
}

std::vector<at::Tensor> PeekSlots(const at::Tensor& z, std::span<const int64_t> counts,
                                  std::span<const at::Tensor> states, const std::vector<MixStream>& streams,
                                  MuOf of) {
  Check(z, streams);
  const at::Tensor rows = z.contiguous();
  const int64_t width = z.size(1);
  if (!HasKernels(z)) {
    std::vector<at::Tensor> before;
    int64_t row = 0;
    for (size_t i = 0; i < counts.size(); row += counts[i++]) {
      if (counts[i] == 0) continue;
      before.push_back(states[i].view({1, width}));
      before.push_back(rows.narrow(0, row, counts[i] - 1));
    }
    return ByAten(rows, before.empty() ? rows : at::cat(before), streams, of);
  }
  std::vector<const void*> before;
  for (size_t i = 0; i < counts.size(); i++)
    for (int64_t t = 0; t < counts[i]; t++)
      before.push_back(t == 0 ? At(states[i], 0)
                              : At(rows, (static_cast<int64_t>(before.size()) - 1) * width));
  return ByKernel(rows, before, Contiguous(streams), of);
}

std::vector<at::Tensor> MixSlots(const at::Tensor& z, std::span<const int64_t> counts,
                                 std::span<const at::Tensor> states, const std::vector<MixStream>& streams,
                                 MuOf of) {
  std::vector<at::Tensor> out = PeekSlots(z, counts, states, streams, of);
  int64_t row = 0;
  for (size_t i = 0; i < counts.size(); i++) {
    row += counts[i];
    if (counts[i] > 0) states[i].copy_(z.select(0, row - 1));
  }
  return out;
}

std::vector<at::Tensor> MixRows(const at::Tensor& z, const at::Tensor& before,
                                const std::vector<MixStream>& streams, MuOf of) {
  Check(z, streams);
  TORCH_CHECK(before.sizes() == z.sizes() && before.scalar_type() == z.scalar_type(), "token shift: z ",
              z.sizes(), " ", z.scalar_type(), ", before ", before.sizes(), " ", before.scalar_type());
  if (!HasKernels(z)) return ByAten(z, before, streams, of);
  const at::Tensor rows = z.contiguous(), others = before.contiguous();
  std::vector<const void*> pointers;
  for (int64_t i = 0; i < z.size(0); i++) pointers.push_back(At(others, i * z.size(1)));
  return ByKernel(rows, pointers, Contiguous(streams), of);
}

}  // namespace volery::nn
