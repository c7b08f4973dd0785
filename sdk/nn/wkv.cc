#include "volery/nn/wkv.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstring>

#include "parallel.h"
#include "segments.h"
#include "weight_gradient.h"

namespace volery::nn {

struct WkvSegments::Plan : torch::CustomClassHolder {
  std::vector<SegmentRange> segments;
  std::vector<std::vector<int64_t>> by_depth;
  std::vector<std::vector<int64_t>> children;  // of each segment, ascending
  std::vector<int64_t> kept;                   // of each segment that has children: its place among them; else -1
  int64_t tokens = 0, parents = 0;
};

namespace {

using Plan = WkvSegments::Plan;
using kernels::WkvArgs;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kTokenCost = 300;  // nanoseconds of one token and head

struct Shape {
  int64_t heads, width;  // of one head
  bool constant;         // one decay for all tokens
  Shape(const WkvInputs& in, int64_t heads_)
      : heads(heads_), width(in.r.size(1) / heads_), constant(in.decay.sizes() != in.r.sizes()) {}
  int64_t size() const { return width * width; }
  int64_t row() const { return heads * width; }
};

void Check(const WkvInputs& in, int64_t heads) {
  TORCH_CHECK(in.r.dim() == 2 && heads > 0 && in.r.size(1) % heads == 0 && in.k.sizes() == in.r.sizes() &&
                  in.v.sizes() == in.r.sizes() && in.k.scalar_type() == in.r.scalar_type() &&
                  in.v.scalar_type() == in.r.scalar_type(),
              "wkv: r ", in.r.sizes(), ", k ", in.k.sizes(), ", v ", in.v.sizes(), ", ", heads, " heads");
  const int64_t n = in.r.size(1) / heads;
  TORCH_CHECK(n % 16 == 0 && n <= kMaxWkvHeadSize, "wkv: heads of ", n, "; a multiple of 16, at most ",
              kMaxWkvHeadSize);
  TORCH_CHECK(in.decay.numel() == in.r.size(1) || in.decay.sizes() == in.r.sizes(), "wkv: decay ",
              in.decay.sizes(), ", r ", in.r.sizes());
  TORCH_CHECK(!in.u.defined() || in.u.numel() == in.r.size(1), "wkv: u ", in.u.sizes());
}

// The inputs as the kernels take them.
struct Rows {
  at::Tensor r, k, v, decay, u;
  bool scale_key;
  explicit Rows(const WkvInputs& in)
      : r(in.r.detach().contiguous()),
        k(in.k.detach().contiguous()),
        v(in.v.detach().contiguous()),
        decay(in.decay.detach().to(at::kFloat).contiguous()),
        u(in.u.defined() ? in.u.detach().to(at::kFloat).contiguous() : in.u),
        scale_key(in.scale_key) {}

  WkvArgs Head(const Shape& shape, int64_t row, int64_t tokens, int64_t head, const at::Tensor& y,
               float* state) const {
    const int64_t at = row * shape.row() + head * shape.width;
    return {At(r, at),
            At(k, at),
            At(v, at),
            y.defined() ? At(y, at) : nullptr,
            shape.row(),
            decay.const_data_ptr<float>() + (shape.constant ? head * shape.width : at),
            shape.constant ? 0 : shape.row(),
            u.defined() ? u.const_data_ptr<float>() + head * shape.width : nullptr,
            state,
            tokens,
            shape.width,
            scale_key};
  }
};

// Sets `state` to what segment i begins with.
void Begin(const Plan& plan, const Shape& shape, int64_t i, int64_t head, const at::Tensor& initial,
           const at::Tensor& ends, float* state) {
  const int64_t parent = plan.segments[i].parent;
  const float* from = nullptr;
  if (parent >= 0)
    from = ends.const_data_ptr<float>() + (plan.kept[parent] * shape.heads + head) * shape.size();
  else if (initial.defined())
    from = initial.const_data_ptr<float>() + (i * shape.heads + head) * shape.size();
  if (from)
    std::memcpy(state, from, shape.size() * sizeof(float));
  else
    std::memset(state, 0, shape.size() * sizeof(float));
}

// ends [parents, heads, N, N]: the states after the segments that have children.
at::Tensor Forward(const Plan& plan, const Rows& in, const Shape& shape, const at::Tensor& initial,
                   at::Tensor& ends, at::Tensor* final) {
  const auto floats = at::dtype(at::kFloat);
  const at::Tensor y = at::empty(in.r.sizes(), in.r.options());
  ends = at::empty({plan.parents, shape.heads, shape.width, shape.width}, floats);
  if (final)
    *final = at::empty({static_cast<int64_t>(plan.segments.size()), shape.heads, shape.width, shape.width}, floats);
  const kernels::Table& table = TableFor(ElementOf(in.r));
  for (const std::vector<int64_t>& level : plan.by_depth)
    ParallelTasks(static_cast<int64_t>(level.size()) * shape.heads, [&](int64_t task) {
      const int64_t i = level[task / shape.heads], head = task % shape.heads;
      const SegmentRange& s = plan.segments[i];
      float* state = ThreadScratch(0, shape.size());
      Begin(plan, shape, i, head, initial, ends, state);
      table.wkv(in.Head(shape, s.begin, s.end - s.begin, head, y, state));
      const size_t bytes = shape.size() * sizeof(float);
      if (plan.kept[i] >= 0)
        std::memcpy(ends.data_ptr<float>() + (plan.kept[i] * shape.heads + head) * shape.size(), state, bytes);
      if (final) std::memcpy(final->data_ptr<float>() + (i * shape.heads + head) * shape.size(), state, bytes);
    });
  return y;
}

// What a parameter's gradient gets of each segment, [segments, row], added in the order of the segments.
at::Tensor AddBySegment(const at::Tensor& parts, const at::Tensor& parameter) {
  WeightGradient gradient = GradientOf(parameter);
  at::Tensor sum = gradient.sum.view({-1});
  for (int64_t i = 0; i < parts.size(0); i++) sum.add_(parts.select(0, i));
  return gradient.Returned(parameter);
}

struct WkvFunction : torch::autograd::Function<WkvFunction> {
  // final: empty, or one element that receives the states.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& r, const at::Tensor& k, const at::Tensor& v,
                            const at::Tensor& decay, const std::optional<at::Tensor>& u,
                            const std::optional<at::Tensor>& initial, int64_t heads, bool scale_key,
                            const c10::intrusive_ptr<Plan>& plan, at::Tensor* final) {
    const WkvInputs in{r, k, v, decay, u.value_or(at::Tensor()), scale_key};
    const at::Tensor first = initial.value_or(at::Tensor());
    at::Tensor ends;
    at::Tensor y = Forward(*plan, Rows(in), Shape(in, heads), Floats(first), ends, final);
    ctx->save_for_backward({r, k, v, decay, in.u, first, ends});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["scale_key"] = scale_key;
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto plan = c10::static_intrusive_pointer_cast<Plan>(ctx->saved_data["plan"].toCapsule());
    const int64_t heads = ctx->saved_data["heads"].toInt(), count = static_cast<int64_t>(plan->segments.size());
    const WkvInputs in{saved[0], saved[1], saved[2], saved[3], saved[4], ctx->saved_data["scale_key"].toBool()};
    const Rows rows(in);
    const Shape shape(in, heads);
    const at::Tensor &initial = saved[5], &ends = saved[6], first = Floats(initial),
                     dy = grads[0].to(in.r.scalar_type()).contiguous();
    const auto floats = at::dtype(at::kFloat);
    const at::Tensor dr = at::empty(rows.r.sizes(), rows.r.options()), dk = at::empty_like(dr),
                     dv = at::empty_like(dr), du = at::zeros({count, shape.row()}, floats),
                     ddecay = shape.constant ? at::zeros({count, shape.row()}, floats)
                                             : at::empty(rows.r.sizes(), floats),
                     dstates = at::zeros({count, heads, shape.width, shape.width}, floats);
    const kernels::Table& table = TableFor(ElementOf(rows.r));
    for (auto level = plan->by_depth.rbegin(); level != plan->by_depth.rend(); ++level)
      ParallelTasks(static_cast<int64_t>(level->size()) * heads, [&](int64_t task) {
        const int64_t i = (*level)[task / heads], head = task % heads, size = shape.size();
        const SegmentRange& s = plan->segments[i];
        const int64_t at = s.begin * shape.row() + head * shape.width;
        float* state = ThreadScratch(0, size);
        Begin(*plan, shape, i, head, first, ends, state);
        float* dstate = dstates.data_ptr<float>() + (i * heads + head) * size;
        for (int64_t child : plan->children[i]) {
          const float* from = dstates.const_data_ptr<float>() + (child * heads + head) * size;
          for (int64_t e = 0; e < size; e++) dstate[e] += from[e];
        }
        kernels::WkvBackwardArgs args{};
        args.forward = rows.Head(shape, s.begin, s.end - s.begin, head, {}, state);
        args.dy = At(dy, at);
        args.dr = At(dr, at);
        args.dk = At(dk, at);
        args.dv = At(dv, at);
        args.ddecay = ddecay.data_ptr<float>() + (shape.constant ? i * shape.row() + head * shape.width : at);
        args.du = du.data_ptr<float>() + i * shape.row() + head * shape.width;
        args.dstate = dstate;
        args.scratch = ThreadScratch(1, table.wkv_floats(s.end - s.begin, shape.width));
        table.wkv_backward(args);
      });
    variable_list out(10);
    out[0] = dr, out[1] = dk, out[2] = dv;
    if (ctx->needs_input_grad(3))
      out[3] = shape.constant ? AddBySegment(ddecay, in.decay)
                              : ddecay.to(in.decay.scalar_type()).view(in.decay.sizes());
    if (in.u.defined() && ctx->needs_input_grad(4)) out[4] = AddBySegment(du, in.u);
    // needs_input_grad counts only the tensors that are there.
    if (initial.defined() && ctx->needs_input_grad(in.u.defined() ? 5 : 4)) {
      at::Tensor dinitial = dstates;
      for (int64_t i = 0; i < count; i++)
        if (plan->segments[i].parent >= 0) dinitial.select(0, i).zero_();
      out[5] = dinitial.to(initial.scalar_type());
    }
    return out;
  }

 private:
  static at::Tensor Floats(const at::Tensor& x) {
    return x.defined() ? x.detach().to(at::kFloat).contiguous() : x;
  }
};

bool NeedsGrad(std::initializer_list<at::Tensor> tensors) {
  for (const at::Tensor& x : tensors)
    if (x.defined() && x.requires_grad()) return true;
  return false;
}

at::Tensor ScanByAten(const Plan& plan, const WkvInputs& in, int64_t heads, const at::Tensor& initial,
                      at::Tensor* final) {
  std::vector<at::Tensor> outputs, ends;
  const bool constant = Shape(in, heads).constant;
  for (size_t i = 0; i < plan.segments.size(); i++) {
    const SegmentRange& s = plan.segments[i];
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, s.begin, s.end - s.begin); };
    at::Tensor begin, end;
    if (s.parent >= 0)
      begin = ends[s.parent];
    else if (initial.defined())
      begin = initial.select(0, static_cast<int64_t>(i));
    outputs.push_back(WkvChunked({part(in.r), part(in.k), part(in.v), constant ? in.decay : part(in.decay), in.u,
                                  in.scale_key},
                                 heads, begin, &end));
    ends.push_back(end);
  }
  if (final) *final = at::stack(ends).detach();
  return at::cat(outputs);
}

}  // namespace

WkvSegments::WkvSegments(const std::vector<SegmentRange>& segments, int64_t tokens)
    : plan_(c10::make_intrusive<Plan>()) {
  CheckSegments(segments, tokens);
  plan_->segments = segments;
  plan_->by_depth = SegmentsByDepth(segments);
  plan_->children.resize(segments.size());
  plan_->kept.assign(segments.size(), -1);
  plan_->tokens = tokens;
  for (size_t i = 0; i < segments.size(); i++) {
    const int64_t parent = segments[i].parent;
    if (parent < 0) continue;
    plan_->children[parent].push_back(static_cast<int64_t>(i));
    if (plan_->kept[parent] < 0) plan_->kept[parent] = plan_->parents++;
  }
}
WkvSegments::WkvSegments(const WkvSegments&) = default;
WkvSegments::WkvSegments(WkvSegments&&) noexcept = default;
WkvSegments::~WkvSegments() = default;

at::Tensor WkvSegments::Scan(const WkvInputs& in, int64_t heads, const at::Tensor& initial,
                             at::Tensor* final) const {
  Check(in, heads);
  TORCH_CHECK(in.r.size(0) == plan_->tokens, "wkv: ", in.r.size(0), " rows of ", plan_->tokens);
  const int64_t n = in.r.size(1) / heads, count = static_cast<int64_t>(plan_->segments.size());
  TORCH_CHECK(!initial.defined() || initial.sizes() == at::IntArrayRef({count, heads, n, n}), "wkv: initial ",
              initial.sizes());
  if (!HasKernels(in.r)) return ScanByAten(*plan_, in, heads, initial, final);
  if (at::GradMode::is_enabled() && NeedsGrad({in.r, in.k, in.v, in.decay, in.u, initial}))
    return WkvFunction::apply(in.r, in.k, in.v, in.decay, AsOptional(in.u), AsOptional(initial), heads,
                              in.scale_key, plan_, final);
  at::Tensor ends;
  return Forward(*plan_, Rows(in), Shape(in, heads),
                 initial.defined() ? initial.to(at::kFloat).contiguous() : initial, ends, final);
}

at::Tensor WkvSlots(const WkvInputs& in, int64_t heads, std::span<const int64_t> counts,
                    std::span<const at::Tensor> states) {
  Check(in, heads);
  const Shape shape(in, heads);
  if (!HasKernels(in.r)) {
    std::vector<at::Tensor> outputs;
    int64_t row = 0;
    for (size_t i = 0; i < counts.size(); row += counts[i++]) {
      if (counts[i] == 0) continue;
      const auto part = [&](const at::Tensor& x) { return x.narrow(0, row, counts[i]); };
      at::Tensor end;
      outputs.push_back(WkvChunked({part(in.r), part(in.k), part(in.v),
                                    shape.constant ? in.decay : part(in.decay), in.u,
                                    in.scale_key},
                                   heads, states[i], &end));
      states[i].copy_(end);
    }
    return outputs.empty() ? at::empty_like(in.r) : at::cat(outputs);
  }
  const Rows rows(in);
  const at::Tensor y = at::empty(rows.r.sizes(), rows.r.options());
  const kernels::Table& table = TableFor(ElementOf(rows.r));
  std::vector<int64_t> first(counts.size());
  int64_t total = 0;
  for (size_t i = 0; i < counts.size(); total += counts[i++]) first[i] = total;
  const int64_t slots = static_cast<int64_t>(counts.size());
  ParallelRows(slots * heads, kTokenCost * std::max<int64_t>(1, total / std::max<int64_t>(slots, 1)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t task = begin; task < end; task++) {
                   const int64_t i = task / heads, head = task % heads;
                   float* state = states[i].data_ptr<float>() + head * shape.size();
                   if (counts[i] > 0) table.wkv(rows.Head(shape, first[i], counts[i], head, y, state));
                 }
               });
  return y;
}

}  // namespace volery::nn
