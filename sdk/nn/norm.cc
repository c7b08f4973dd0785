#include "volery/nn/norm.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel.h"
#include "weight_gradient.h"

namespace volery::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Returns y; moments (or null) gets [rows, 2] in the statistics' dtype: 0 and 1 / (sqrt(mean(x^2) + eps) +
// added).
at::Tensor ForwardByKernel(const at::Tensor& x, const at::Tensor& w, double eps, double added,
                           at::Tensor* moments) {
  const int64_t width = w.numel(), rows = x.numel() / width;
  at::Tensor y = at::empty(x.sizes(), x.options());
  if (moments) *moments = at::empty({rows, 2}, x.options().dtype(at::kFloat));
  float* m = moments ? moments->data_ptr<float>() : nullptr;
  const kernels::Table& table = TableFor(ElementOf(x));
  ParallelRows(rows, width, [&](int64_t begin, int64_t end) {
    table.rms_norm({At(x, begin * width), At(y, begin * width), width, width, end - begin, width},
                   w.data_ptr(), static_cast<float>(eps), static_cast<float>(added),
                   m ? m + 2 * begin : nullptr);
  });
  return y;
}

at::Tensor ForwardByAten(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* moments) {
  const at::Tensor wide = x.to(StatisticsType(x)).view({-1, w.numel()});
  const at::Tensor r = at::rsqrt(wide.square().mean(-1, true) + eps);
  if (moments) *moments = at::cat({at::zeros_like(r), r}, 1);
  return ((wide * r).to(x.scalar_type()) * w).view(x.sizes());
}

at::Tensor Forward(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* moments) {
  return HasKernels(x) ? ForwardByKernel(x, w, eps, 0, moments) : ForwardByAten(x, w, eps, moments);
}

// With n = x r, g = dy w: dx = r (g - n mean(g n)), dw = sum over rows of dy n.
struct RmsNormFunction : torch::autograd::Function<RmsNormFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w, double eps) {
    at::Tensor moments;
    at::Tensor y = Forward(x, w, eps, &moments);
    ctx->save_for_backward({x, w, moments});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    return HasKernels(saved[0]) ? BackwardByKernel(saved, grads[0], ctx->needs_input_grad(1))
                                : BackwardByAten(saved, grads[0]);
  }

  static variable_list BackwardByKernel(const variable_list& saved, const at::Tensor& gradient,
                                        bool of_weights) {
    const at::Tensor &x = saved[0], &w = saved[1], dy = gradient.contiguous();
    const int64_t width = w.numel(), rows = x.numel() / width;
    const float* moments = saved[2].const_data_ptr<float>();
    at::Tensor dx = at::empty(x.sizes(), x.options());
    const kernels::Table& table = TableFor(ElementOf(x));
    const auto part = [&](int64_t begin, int64_t end) {
      return kernels::NormBackwardArgs{At(x, begin * width),
                                       w.data_ptr(),
                                       At(dy, begin * width),
                                       moments + 2 * begin,
                                       At(dx, begin * width),
                                       end - begin,
                                       1,
                                       width};
    };
    ParallelRows(rows, width, [&](int64_t begin, int64_t end) { table.rms_norm_backward(part(begin, end)); });
    if (!of_weights) return {dx, at::Tensor(), at::Tensor()};
    const WeightGradient of_weight = GradientOf(w);
    ParallelColumns(width, rows, [&](int64_t begin, int64_t end) {
      table.norm_weight(part(0, rows), of_weight.sum.data_ptr<float>(), nullptr, begin, end);
    });
    return {dx, of_weight.Returned(w), at::Tensor()};
  }

 private:
  static variable_list BackwardByAten(const variable_list& saved, const at::Tensor& gradient) {
    const at::Tensor &x = saved[0], &w = saved[1];
    const auto type = StatisticsType(x);
    const int64_t width = w.numel();
    const at::Tensor r = saved[2].narrow(1, 1, 1);
    const at::Tensor n = x.to(type).view({-1, width}) * r;
    const at::Tensor dy = gradient.to(type).reshape({-1, width});
    const at::Tensor dw = (dy * n).sum(0).to(w.scalar_type());
    const at::Tensor g = dy * w.to(type);
    const at::Tensor dx = (g - n * (g * n).mean(-1, true)) * r;
    return {dx.to(x.scalar_type()).view(x.sizes()), dw, at::Tensor()};
  }
};

// The kernel's slope takes the root for root + added: off by added / root, relative.
struct RmsUnitFunction : torch::autograd::Function<RmsUnitFunction> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& ones, double added) {
    at::Tensor moments;
    at::Tensor y = ForwardByKernel(x, ones, 0, added, &moments);
    ctx->save_for_backward({x, ones, moments});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    return RmsNormFunction::BackwardByKernel(ctx->get_saved_variables(), grads[0], false);
  }
};

}  // namespace

at::Tensor RmsUnit(const at::Tensor& x, double added) {
  if (!HasKernels(x)) {
    const at::Tensor wide = x.to(StatisticsType(x));
    return (wide / (wide.square().mean(-1, true).sqrt() + added)).to(x.scalar_type());
  }
  const at::Tensor input = x.contiguous(), ones = at::ones({x.size(-1)}, x.options().requires_grad(false));
  if (at::GradMode::is_enabled() && x.requires_grad()) return RmsUnitFunction::apply(input, ones, added);
  return ForwardByKernel(input, ones, 0, added, nullptr);
}

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  TORCH_CHECK(x.size(-1) == weight.numel() && x.scalar_type() == weight.scalar_type(), "RmsNorm: x ",
              x.sizes(), " ", x.scalar_type(), ", weight ", weight.sizes(), " ", weight.scalar_type());
  const at::Tensor input = x.contiguous(), w = weight.contiguous();
  if (at::GradMode::is_enabled() && (x.requires_grad() || weight.requires_grad()))
    return RmsNormFunction::apply(input, w, eps);
  return Forward(input, w, eps, nullptr);
}

void RmsNormHeadsInPlace(const at::Tensor& rows, int64_t offset, int64_t heads, const at::Tensor& weight,
                         double eps) {
  const int64_t width = weight.numel(), stride = rows.stride(0);
  TORCH_CHECK(rows.dim() == 2 && rows.stride(1) == 1 && offset + heads * width <= rows.size(1),
              "RmsNormHeadsInPlace: rows ", rows.sizes());
  if (!HasKernels(rows)) {
    at::Tensor view = rows.narrow(1, offset, heads * width).view({rows.size(0), heads, width});
    view.copy_(ForwardByAten(view.contiguous(), weight, eps, nullptr));
    return;
  }
  const kernels::Table& table = TableFor(ElementOf(rows));
  ParallelRows(rows.size(0), heads * width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      char* at = At(rows, row * stride + offset);
      table.rms_norm({at, at, width, width, heads, width}, weight.data_ptr(), static_cast<float>(eps), 0,
                     nullptr);
    }
  });
}

}  // namespace volery::nn
