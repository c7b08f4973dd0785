#include "volery/nn/segment_attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel.h"
#include "segment_operators.h"
#include "segments.h"

namespace volery::nn {
namespace {

// The rows that a segment attends to, its own last.
struct Path {
  std::vector<long> rows;
  long prefix = 0;
};

}  // namespace

struct SegmentAttention::Plan : torch::CustomClassHolder {
  std::vector<Path> paths;                      // with kernels
  std::unique_ptr<SegmentOperators> operators;  // without
};

namespace {

using Plan = SegmentAttention::Plan;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// q [T, heads, D], k and v [T, kv_heads, D], all contiguous.
struct Shape {
  int64_t tokens, heads, kv_heads, dim, group;
  Shape(const at::Tensor& q, const at::Tensor& k)
      : tokens(q.size(0)), heads(q.size(1)), kv_heads(k.size(1)), dim(q.size(2)), group(heads / kv_heads) {}
};

kernels::SegmentArgs Arguments(const Shape& shape, const Path& path, int64_t head, const at::Tensor& q,
                               const at::Tensor& k, const at::Tensor& v, const at::Tensor& out,
                               const at::Tensor& stats, double scale) {
  const int64_t columns = head * shape.group * shape.dim;
  return {At(q, columns),
          At(k, head * shape.dim),
          At(v, head * shape.dim),
          At(out, columns),
          stats.data_ptr<float>() + head * shape.group * 2,
          shape.heads * shape.dim,
          shape.kv_heads * shape.dim,
          shape.heads * 2,
          path.rows.data(),
          path.prefix,
          static_cast<long>(path.rows.size()),
          shape.dim,
          shape.group,
          static_cast<float>(scale),
          nullptr};
}

// body(path index, key head) for all of them.
template <class Body>
void ForPathsAndHeads(const Plan& plan, const Shape& shape, const Body& body) {
  ParallelTasks(static_cast<int64_t>(plan.paths.size()) * shape.kv_heads,
                [&](int64_t task) { body(task / shape.kv_heads, task % shape.kv_heads); });
}

at::Tensor Forward(const Plan& plan, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   double scale, at::Tensor& stats) {
  const Shape shape(q, k);
  const at::Tensor out = at::empty({shape.tokens, shape.heads * shape.dim}, q.options().requires_grad(false));
  stats = at::empty({shape.tokens, shape.heads, 2}, out.options().dtype(at::kFloat));
  const kernels::Table& table = TableFor(ElementOf(q));
  ForPathsAndHeads(plan, shape, [&](int64_t path, int64_t head) {
    kernels::SegmentArgs args = Arguments(shape, plan.paths[path], head, q, k, v, out, stats, scale);
    args.scratch = ThreadScratch(0, table.segment_floats(args, false));
    table.segment_forward(args);
  });
  return out;
}

// Adds to the gradients of ancestors what their descendants found, in the order of the segments.
void AddPrefixes(const Plan& plan, const Shape& shape, const std::vector<at::Tensor>& shares,
                 const at::Tensor& dk, const at::Tensor& dv) {
  ParallelTasks(shape.kv_heads * 2, [&](int64_t task) {
    const int64_t head = task / 2, which = task % 2;
    float* const sums = (which == 0 ? dk : dv).data_ptr<float>() + head * shape.dim;
    for (size_t i = 0; i < shares.size(); i++) {
      const Path& path = plan.paths[i];
      if (path.prefix == 0) continue;
      const float* share = shares[i].const_data_ptr<float>() + (head * 2 + which) * path.prefix * shape.dim;
      for (long p = 0; p < path.prefix; p++)
        for (int64_t d = 0; d < shape.dim; d++)
          sums[path.rows[p] * shape.kv_heads * shape.dim + d] += share[p * shape.dim + d];
    }
  });
}

struct AttendFunction : torch::autograd::Function<AttendFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const c10::intrusive_ptr<Plan>& plan, double scale) {
    at::Tensor stats;
    const at::Tensor out = Forward(*plan, q, k, v, scale, stats);
    ctx->save_for_backward({q, k, v, out, stats});
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    ctx->saved_data["scale"] = scale;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], dout = grads[0].contiguous();
    const auto plan = c10::static_intrusive_pointer_cast<Plan>(ctx->saved_data["plan"].toCapsule());
    const double scale = ctx->saved_data["scale"].toDouble();
    const Shape shape(q, k);
    const auto floats = dout.options().dtype(at::kFloat);
    const at::Tensor dq = at::empty_like(q), dk = at::empty(k.sizes(), floats),
                     dv = at::empty(v.sizes(), floats);
    std::vector<at::Tensor> shares;
    for (const Path& path : plan->paths)
      shares.push_back(path.prefix > 0 ? at::empty({shape.kv_heads, 2, path.prefix, shape.dim}, floats)
                                       : at::Tensor());
    const kernels::Table& table = TableFor(ElementOf(q));
    ForPathsAndHeads(*plan, shape, [&](int64_t i, int64_t head) {
      const Path& path = plan->paths[i];
      kernels::SegmentBackwardArgs args{Arguments(shape, path, head, q, k, v, saved[3], saved[4], scale),
                                        At(dout, head * shape.group * shape.dim),
                                        At(dq, head * shape.group * shape.dim),
                                        dk.data_ptr<float>() + head * shape.dim,
                                        dv.data_ptr<float>() + head * shape.dim,
                                        nullptr,
                                        nullptr};
      if (path.prefix > 0) {
        args.dk_prefix = shares[i].data_ptr<float>() + head * 2 * path.prefix * shape.dim;
        args.dv_prefix = args.dk_prefix + path.prefix * shape.dim;
      }
      args.segment.scratch = ThreadScratch(0, table.segment_floats(args.segment, true));
      table.segment_backward(args);
    });
    AddPrefixes(*plan, shape, shares, dk, dv);
    return {dq, dk.to(k.scalar_type()), dv.to(v.scalar_type()), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

SegmentAttention::SegmentAttention(const std::vector<SegmentRange>& segments, int64_t tokens,
                                   at::ScalarType dtype, at::Device device)
    : plan_(c10::make_intrusive<Plan>()) {
  CheckSegments(segments, tokens);
  if (!device.is_cpu() || (dtype != at::kFloat && dtype != at::kBFloat16)) {
    plan_->operators = std::make_unique<SegmentOperators>(segments, tokens, dtype, device);
    return;
  }
  for (const SegmentRange& segment : segments) {
    const std::vector<int64_t> prefix = AncestorTokens(segments, segment.parent);
    Path path{{prefix.begin(), prefix.end()}, static_cast<long>(prefix.size())};
    for (int64_t t = segment.begin; t < segment.end; t++) path.rows.push_back(t);
    plan_->paths.push_back(std::move(path));
  }
}

SegmentAttention::SegmentAttention(const SegmentAttention&) = default;
SegmentAttention::SegmentAttention(SegmentAttention&&) noexcept = default;
SegmentAttention::~SegmentAttention() = default;

at::Tensor SegmentAttention::Attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                    double scale) const {
  TORCH_CHECK(q.dim() == 3 && k.dim() == 3 && k.sizes() == v.sizes() && q.size(0) == k.size(0) &&
                  q.size(2) == k.size(2) && q.size(1) % k.size(1) == 0,
              "SegmentAttention: q ", q.sizes(), ", k ", k.sizes(), ", v ", v.sizes());
  if (plan_->operators) return plan_->operators->Attend(q, k, v, scale);
  TORCH_CHECK(HasKernels(q) && q.scalar_type() == k.scalar_type() && q.scalar_type() == v.scalar_type(),
              "SegmentAttention: made for float32 or bfloat16 on the CPU, q is ", q.scalar_type(), " on ",
              q.device());
  const at::Tensor a = q.contiguous(), b = k.contiguous(), c = v.contiguous();
  if (at::GradMode::is_enabled() && (a.requires_grad() || b.requires_grad() || c.requires_grad()))
    return AttendFunction::apply(a, b, c, plan_, scale);
  at::Tensor stats;
  return Forward(*plan_, a, b, c, scale, stats);
}

}  // namespace volery::nn
