#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel.h"
#include "volery/nn/norm.h"
#include "weight_gradient.h"

namespace volery::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// A tensor as rows of groups of `width` elements.
struct Parts {
  int64_t rows, groups, width;
  Parts(const at::Tensor& x, const at::Tensor& w, int64_t groups)
      : rows(x.numel() / w.numel()), groups(groups), width(w.numel() / groups) {}
  at::Tensor Of(const at::Tensor& x) const { return x.view({-1, groups, width}); }
};

// Returns y; moments (or null) gets [rows * groups, 2]: mean and 1 / sqrt(variance + eps).
at::Tensor ForwardByKernel(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b, const Parts& parts,
                           double eps, at::Tensor* moments) {
  at::Tensor y = at::empty(x.sizes(), x.options());
  if (moments) *moments = at::empty({parts.rows * parts.groups, 2}, x.options().dtype(at::kFloat));
  float* m = moments ? moments->data_ptr<float>() : nullptr;
  const kernels::Table& table = TableFor(ElementOf(x));
  ParallelRows(parts.rows, w.numel(), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * w.numel();
    table.layer_norm({At(x, at), w.data_ptr(), b.defined() ? b.data_ptr() : nullptr, At(y, at),
                      m ? m + 2 * begin * parts.groups : nullptr, end - begin, parts.groups, parts.width,
                      static_cast<float>(eps)});
  });
  return y;
}

at::Tensor ForwardByAten(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b, const Parts& parts,
                         double eps, at::Tensor* moments) {
  const auto type = StatisticsType(x);
  const at::Tensor wide = parts.Of(x.to(type)), mean = wide.mean(-1, true), shifted = wide - mean;
  const at::Tensor rstd = at::rsqrt(shifted.square().mean(-1, true) + eps);
  if (moments) *moments = at::cat({mean, rstd}, -1).view({-1, 2});
  at::Tensor y = shifted * rstd * parts.Of(w.to(type));
  if (b.defined()) y = y + parts.Of(b.to(type));
  return y.to(x.scalar_type()).view(x.sizes());
}

at::Tensor Forward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b, int64_t groups, double eps,
                   at::Tensor* moments) {
  const Parts parts(x, w, groups);
  return HasKernels(x) ? ForwardByKernel(x, w, b, parts, eps, moments)
                       : ForwardByAten(x, w, b, parts, eps, moments);
}

// With n = (x - mean) rstd, g = dy w: dx = rstd (g - mean(g) - n mean(g n)), dw = sum over rows of dy n, db
// of dy.
struct LayerNormFunction : torch::autograd::Function<LayerNormFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w,
                            const std::optional<at::Tensor>& bias, int64_t groups, double eps) {
    const at::Tensor b = bias.value_or(at::Tensor());
    at::Tensor moments;
    at::Tensor y = Forward(x, w, b, groups, eps, &moments);
    ctx->save_for_backward({x, w, b, moments});
    ctx->saved_data["groups"] = groups;
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Parts parts(saved[0], saved[1], ctx->saved_data["groups"].toInt());
    variable_list out = HasKernels(saved[0]) ? BackwardByKernel(ctx, saved, grads[0].contiguous(), parts)
                                             : BackwardByAten(saved, grads[0], parts);
    out.resize(5);
    return out;
  }

 private:
  static variable_list BackwardByKernel(AutogradContext* ctx, const variable_list& saved,
                                        const at::Tensor& dy, const Parts& parts) {
    const at::Tensor &x = saved[0], &w = saved[1], &b = saved[2];
    const int64_t columns = w.numel();
    const float* moments = saved[3].const_data_ptr<float>();
    at::Tensor dx = at::empty(x.sizes(), x.options());
    const kernels::Table& table = TableFor(ElementOf(x));
    const auto args = [&](int64_t begin, int64_t end) {
      const int64_t at = begin * columns;
      return kernels::NormBackwardArgs{
          At(x, at),  w.data_ptr(), At(dy, at),   moments + 2 * begin * parts.groups,
          At(dx, at), end - begin,  parts.groups, parts.width};
    };
    ParallelRows(parts.rows, columns,
                 [&](int64_t begin, int64_t end) { table.layer_norm_backward(args(begin, end)); });
    WeightGradient of_weight, of_bias;
    if (ctx->needs_input_grad(1)) of_weight = GradientOf(w);
    if (b.defined() && ctx->needs_input_grad(2)) of_bias = GradientOf(b);
    const auto sum = [](const WeightGradient& g) {
      return g.sum.defined() ? g.sum.data_ptr<float>() : nullptr;
    };
    ParallelColumns(columns, parts.rows, [&](int64_t begin, int64_t end) {
      table.norm_weight(args(0, parts.rows), sum(of_weight), sum(of_bias), begin, end);
    });
    const auto returned = [&](const WeightGradient& g) {
      return g.sum.defined() ? g.Returned(w) : at::Tensor();
    };
    return {dx, returned(of_weight), returned(of_bias)};
  }

  static variable_list BackwardByAten(const variable_list& saved, const at::Tensor& gradient,
                                      const Parts& parts) {
    const at::Tensor &x = saved[0], &w = saved[1], &b = saved[2];
    const auto type = StatisticsType(x);
    const at::Tensor moments = saved[3].view({-1, parts.groups, 2});
    const at::Tensor mean = moments.narrow(2, 0, 1), rstd = moments.narrow(2, 1, 1);
    const at::Tensor n = (parts.Of(x.to(type)) - mean) * rstd;
    const at::Tensor dy = parts.Of(gradient.to(type).contiguous());
    const at::Tensor g = dy * parts.Of(w.to(type));
    const at::Tensor dx = (g - g.mean(-1, true) - n * (g * n).mean(-1, true)) * rstd;
    const auto summed = [&](const at::Tensor& rows) {
      return rows.sum(0).to(w.scalar_type()).view(w.sizes());
    };
    return {dx.to(x.scalar_type()).view(x.sizes()), summed(dy * n), b.defined() ? summed(dy) : at::Tensor()};
  }
};

bool NeedsGrad(const at::Tensor& tensor) {
  return tensor.defined() && tensor.requires_grad();
}

}  // namespace

at::Tensor GroupNorm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                     double eps) {
  TORCH_CHECK(x.dim() > 0 && weight.dim() == 1 && weight.numel() > 0 && x.size(-1) == weight.numel() &&
                  x.scalar_type() == weight.scalar_type() && groups > 0 && weight.numel() % groups == 0,
              "norm: x ", x.sizes(), " ", x.scalar_type(), ", weight ", weight.sizes(), " ",
              weight.scalar_type(), ", ", groups, " groups");
  TORCH_CHECK(
      !bias.defined() || (bias.sizes() == weight.sizes() && bias.scalar_type() == weight.scalar_type()),
      "norm: bias ", bias.sizes(), ", weight ", weight.sizes(), " ", weight.scalar_type());
  const at::Tensor input = x.contiguous(), w = weight.contiguous(),
                   b = bias.defined() ? bias.contiguous() : bias;
  if (at::GradMode::is_enabled() && (NeedsGrad(x) || NeedsGrad(weight) || NeedsGrad(bias)))
    return LayerNormFunction::apply(input, w, AsOptional(b), groups, eps);
  return Forward(input, w, b, groups, eps, nullptr);
}

at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  return GroupNorm(x, 1, weight, bias, eps);
}

}  // namespace volery::nn
