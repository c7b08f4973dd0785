#include "volery/nn/linear.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <stdexcept>

#include "parallel.h"
#include "products.h"
#include "weight_gradient.h"

namespace volery::nn {
namespace {

std::string Shape(at::IntArrayRef sizes) {
  std::string out = "[";
  for (size_t i = 0; i < sizes.size(); i++) out += (i ? ", " : "") + std::to_string(sizes[i]);
  return out + "]";
}

at::Tensor Find(const NamedTensors& tensors, const std::string& name, at::IntArrayRef shape) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::invalid_argument("tensor " + name + " is missing");
  if (found->second.sizes() != shape)
    throw std::invalid_argument("tensor " + name + " has shape " + Shape(found->second.sizes()) +
                                "; the config needs " + Shape(shape));
  return found->second;
}

at::Tensor FindBias(const LinearSpec& spec, const NamedTensors& tensors) {
  return spec.bias.empty() ? at::Tensor() : Find(tensors, spec.bias, {spec.out});
}

struct Fused {
  std::vector<at::Tensor> weights;
  at::Tensor bias;  // undefined: none
  int64_t out = 0;
};

Fused Collect(const std::vector<LinearSpec>& specs, const NamedTensors& tensors) {
  Fused fused;
  std::vector<at::Tensor> biases;
  bool any_bias = false;
  for (const LinearSpec& spec : specs) {
    fused.weights.push_back(Find(tensors, spec.weight, {spec.out, spec.in}).detach().contiguous());
    fused.out += spec.out;
    biases.push_back(FindBias(spec, tensors));
    any_bias |= biases.back().defined();
  }
  if (!any_bias) return fused;
  for (size_t i = 0; i < biases.size(); i++)
    biases[i] =
        biases[i].defined() ? biases[i].detach() : at::zeros({specs[i].out}, fused.weights[i].options());
  fused.bias = at::cat(biases);
  return fused;
}

class AtenLinear final : public Linear {
 public:
  AtenLinear(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}
  at::Tensor Forward(const at::Tensor& x) const override { return at::linear(x, weight_, AsOptional(bias_)); }

 private:
  at::Tensor weight_, bias_;
};

class AtenPacked final : public PackedLinear {
 public:
  explicit AtenPacked(const Fused& parts) : weight_(at::cat(parts.weights)), bias_(parts.bias) {}
  at::Tensor Forward(const at::Tensor& x) const override { return at::linear(x, weight_, AsOptional(bias_)); }
  at::Tensor WeightRows(const at::Tensor& rows) const override { return weight_.index_select(0, rows); }
  int64_t bytes() const override {
    return static_cast<int64_t>(weight_.nbytes() + (bias_.defined() ? bias_.nbytes() : 0));
  }

 private:
  at::Tensor weight_, bias_;
};

class AtenFactory : public LinearFactory {
 public:
  std::unique_ptr<Linear> Make(const LinearSpec& spec, const NamedTensors& parameters) override {
    return std::make_unique<AtenLinear>(Find(parameters, spec.weight, {spec.out, spec.in}),
                                        FindBias(spec, parameters));
  }
  std::unique_ptr<PackedLinear> Pack(const std::vector<LinearSpec>& fused,
                                     const NamedTensors& weights) const override {
    const at::NoGradGuard no_grad;
    return std::make_unique<AtenPacked>(Collect(fused, weights));
  }
};

// Products by nn's kernels or by LibTorch; x [R, in], W [out, in], b [out] or undefined, dy [R, out].
struct KernelProducts {
  static constexpr at::ScalarType kGradient = at::kFloat;  // of dy, as the functions below want it
  static at::Tensor Forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    at::Tensor y = at::empty({x.size(0), weight.size(0)}, x.options().dtype(at::kFloat));
    MultiplyTransposed(x.to(at::kFloat), weight, y);
    if (bias.defined()) y.add_(bias);
    return y.to(x.scalar_type());
  }
  static at::Tensor Input(const at::Tensor& dy, const at::Tensor& weight) {
    const at::Tensor dx = at::empty({dy.size(0), weight.size(1)}, dy.options());
    Multiply(dy, weight, dx);
    return dx.to(weight.scalar_type());
  }
  static void AddWeight(const at::Tensor& dy, const at::Tensor& x, const at::Tensor& sum) {
    AccumulateOuter(dy, x.to(at::kFloat), sum);
  }
  static void AddBias(const at::Tensor& dy, const at::Tensor& sum) {
    AccumulateOuter(at::ones({dy.size(0), 1}, dy.options()), dy, sum.unsqueeze(0));
  }
};
struct AtenProducts {
  static constexpr at::ScalarType kGradient = at::kBFloat16;
  static at::Tensor Forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
    return at::linear(x, weight, AsOptional(bias));
  }
  static at::Tensor Input(const at::Tensor& dy, const at::Tensor& weight) { return at::mm(dy, weight); }
  static void AddWeight(const at::Tensor& dy, const at::Tensor& x, at::Tensor& sum) {
    sum.add_(at::mm(dy.t(), x));
  }
  static void AddBias(const at::Tensor& dy, at::Tensor& sum) { sum.add_(dy.sum(0, false, at::kFloat)); }
};

template <class Products>
struct LinearFunction : torch::autograd::Function<LinearFunction<Products>> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
    ctx->save_for_backward({x, weight, bias.value_or(at::Tensor())});
    return Products::Forward(x, weight, bias.value_or(at::Tensor()));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const at::Tensor dy = grads[0].to(Products::kGradient).contiguous();
    at::Tensor dx, dw, db;
    if (ctx->needs_input_grad(0)) dx = Products::Input(dy, weight);
    if (ctx->needs_input_grad(1)) {
      WeightGradient gradient = GradientOf(weight);
      Products::AddWeight(dy, x, gradient.sum);
      dw = gradient.Returned(weight);
    }
    if (bias.defined() && ctx->needs_input_grad(2)) {
      WeightGradient gradient = GradientOf(bias);
      Products::AddBias(dy, gradient.sum);
      db = gradient.Returned(bias);
    }
    return {dx, dw, db};
  }
};

template <class Products>
class InPlaceLinear final : public Linear {
 public:
  InPlaceLinear(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}
  at::Tensor Forward(const at::Tensor& x) const override {
    TORCH_CHECK(x.dim() == 2 && x.size(1) == weight_.size(1) && x.scalar_type() == weight_.scalar_type(),
                "Linear: x ", x.sizes(), " ", x.scalar_type(), ", weight ", weight_.sizes(), " ",
                weight_.scalar_type());
    return LinearFunction<Products>::apply(x.contiguous(), weight_, AsOptional(bias_));
  }

 private:
  at::Tensor weight_, bias_;
};

class KernelPacked final : public PackedLinear {
 public:
  explicit KernelPacked(const Fused& parts)
      : panels_(PackPanels(parts.weights)),
        bias_(parts.bias),
        in_(parts.weights[0].size(1)),
        out_(parts.out) {
    if (bias_.defined()) bias_ = bias_.to(at::kFloat);
  }
  at::Tensor Forward(const at::Tensor& x) const override {
    TORCH_CHECK(x.dim() == 2 && x.size(1) == in_, "PackedLinear: x ", x.sizes(), ", inputs ", in_);
    at::Tensor y = at::empty({x.size(0), out_}, x.options().dtype(at::kFloat));
    MultiplyPacked(x.to(at::kFloat).contiguous(), panels_, y);
    if (bias_.defined()) y.add_(bias_);
    return y.to(x.scalar_type());
  }
  at::Tensor WeightRows(const at::Tensor& rows) const override { return RowsOfPanels(panels_, rows); }
  int64_t bytes() const override {
    return static_cast<int64_t>(panels_.nbytes() + (bias_.defined() ? bias_.nbytes() : 0));
  }

 private:
  at::Tensor panels_, bias_;
  int64_t in_, out_;
};

class KernelFactory final : public AtenFactory {
 public:
  explicit KernelFactory(bool bfloat16_dots) : bfloat16_dots_(bfloat16_dots) {}
  std::unique_ptr<Linear> Make(const LinearSpec& spec, const NamedTensors& parameters) override {
    const at::Tensor weight = Find(parameters, spec.weight, {spec.out, spec.in});
    const at::Tensor bias = FindBias(spec, parameters);
    if (weight.scalar_type() == at::kBFloat16 && (!weight.device().is_cpu() || bfloat16_dots_))
      return std::make_unique<InPlaceLinear<AtenProducts>>(weight, bias);
    if (!HasKernels(weight) || !weight.is_contiguous()) return AtenFactory::Make(spec, parameters);
    return std::make_unique<InPlaceLinear<KernelProducts>>(weight, bias);
  }
  std::unique_ptr<PackedLinear> Pack(const std::vector<LinearSpec>& fused,
                                     const NamedTensors& weights) const override {
    const at::NoGradGuard no_grad;
    const Fused parts = Collect(fused, weights);
    if (!HasKernels(parts.weights[0])) return std::make_unique<AtenPacked>(parts);
    return std::make_unique<KernelPacked>(parts);
  }

 private:
  bool bfloat16_dots_;
};

}  // namespace

bool HasBfloat16Dots() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}
std::unique_ptr<LinearFactory> MakeLinearFactory(bool bfloat16_dots) {
  return std::make_unique<KernelFactory>(bfloat16_dots);
}
std::unique_ptr<LinearFactory> MakeAtenLinearFactory() {
  return std::make_unique<AtenFactory>();
}

}  // namespace volery::nn
