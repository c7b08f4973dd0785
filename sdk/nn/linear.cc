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

// Of `out` elements, whatever its shape.
at::Tensor FindBias(const LinearSpec& spec, const NamedTensors& tensors) {
  if (spec.bias.empty()) return {};
  const auto found = tensors.find(spec.bias);
  if (found != tensors.end() && found->second.numel() == spec.out) return found->second;
  return RequireTensor(tensors, spec.bias, {spec.out});  // says what is wrong
}

// The part of a file's tensor that a spec names, as the file has it.
at::Tensor Part(const at::Tensor& tensor, const LinearSpec& spec) {
  return spec.parts > 0 ? tensor.select(0, spec.part) : tensor;
}
// W, [out, in].
at::Tensor Matrix(const at::Tensor& tensor, const LinearSpec& spec) {
  const at::Tensor part = Part(tensor, spec);
  return spec.transposed ? part.t() : part;
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
    fused.weights.push_back(Matrix(RequireTensor(tensors, spec.weight, spec.shape()).detach(), spec).contiguous());
    fused.out += spec.out;
    biases.push_back(FindBias(spec, tensors));
    if (biases.back().defined()) biases.back() = biases.back().reshape({-1});
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
  AtenLinear(at::Tensor weight, at::Tensor bias, LinearSpec spec)
      : weight_(std::move(weight)), bias_(std::move(bias)), spec_(std::move(spec)) {}
  at::Tensor Forward(const at::Tensor& x) const override {
    return at::linear(x, Matrix(weight_, spec_), AsOptional(bias_.defined() ? bias_.reshape({-1}) : bias_));
  }

 private:
  at::Tensor weight_, bias_;
  LinearSpec spec_;
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
    return std::make_unique<AtenLinear>(RequireTensor(parameters, spec.weight, spec.shape()), FindBias(spec, parameters),
                                        spec);
  }
  std::unique_ptr<PackedLinear> Pack(const std::vector<LinearSpec>& fused,
                                     const NamedTensors& weights) const override {
    const at::NoGradGuard no_grad;
    return std::make_unique<AtenPacked>(Collect(fused, weights));
  }
};

// Products by nn's kernels or by LibTorch; x [R, in], W [out, in] or, transposed, [in, out], b [out] or
// undefined, dy [R, out].
struct KernelProducts {
  static constexpr at::ScalarType kGradient = at::kFloat;  // of dy, as the functions below want it
  static at::Tensor Forward(const at::Tensor& x, const at::Tensor& weight, bool transposed,
                            const at::Tensor& bias) {
    at::Tensor y = at::empty({x.size(0), weight.size(transposed ? 1 : 0)}, x.options().dtype(at::kFloat));
    (transposed ? Multiply : MultiplyTransposed)(x.to(at::kFloat), weight, y);
    if (bias.defined()) y.add_(bias.view({-1}));
    return y.to(x.scalar_type());
  }
  static at::Tensor Input(const at::Tensor& dy, const at::Tensor& weight, bool transposed) {
    const at::Tensor dx = at::empty({dy.size(0), weight.size(transposed ? 0 : 1)}, dy.options());
    (transposed ? MultiplyTransposed : Multiply)(dy, weight, dx);
    return dx.to(weight.scalar_type());
  }
  static void AddWeight(const at::Tensor& dy, const at::Tensor& x, bool transposed, const at::Tensor& sum) {
    const at::Tensor wide = x.to(at::kFloat);
    if (transposed)
      AccumulateOuter(wide, dy, sum);
    else
      AccumulateOuter(dy, wide, sum);
  }
  static void AddBias(const at::Tensor& dy, const at::Tensor& sum) {
    AccumulateOuter(at::ones({dy.size(0), 1}, dy.options()), dy, sum.view({1, -1}));
  }
};
struct AtenProducts {
  static constexpr at::ScalarType kGradient = at::kBFloat16;
  static at::Tensor Forward(const at::Tensor& x, const at::Tensor& weight, bool transposed,
                            const at::Tensor& bias) {
    return at::linear(x, transposed ? weight.t() : weight, AsOptional(bias.defined() ? bias.view({-1}) : bias));
  }
  static at::Tensor Input(const at::Tensor& dy, const at::Tensor& weight, bool transposed) {
    return at::mm(dy, transposed ? weight.t() : weight);
  }
  static void AddWeight(const at::Tensor& dy, const at::Tensor& x, bool transposed, const at::Tensor& sum) {
    sum.add_(transposed ? at::mm(x.t(), dy) : at::mm(dy.t(), x));
  }
  static void AddBias(const at::Tensor& dy, const at::Tensor& sum) { sum.view({-1}).add_(dy.sum(0, false, at::kFloat)); }
};

template <class Products>
struct LinearFunction : torch::autograd::Function<LinearFunction<Products>> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias, bool transposed,
                            int64_t part) {  // -1: the whole tensor is the weight
    ctx->save_for_backward({x, weight, bias.value_or(at::Tensor())});
    ctx->saved_data["transposed"] = transposed;
    ctx->saved_data["part"] = part;
    return Products::Forward(x, Select(weight, part), transposed, bias.value_or(at::Tensor()));
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &bias = saved[2];
    const bool transposed = ctx->saved_data["transposed"].toBool();
    const int64_t part = ctx->saved_data["part"].toInt();
    const at::Tensor dy = grads[0].to(Products::kGradient).contiguous();
    at::Tensor dx, dw, db;
    if (ctx->needs_input_grad(0)) dx = Products::Input(dy, Select(weight, part), transposed);
    if (ctx->needs_input_grad(1)) {
      WeightGradient gradient = GradientOf(weight);
      Products::AddWeight(dy, x, transposed, Select(gradient.sum, part));
      dw = gradient.Returned(weight);
    }
    if (bias.defined() && ctx->needs_input_grad(2)) {
      WeightGradient gradient = GradientOf(bias);
      Products::AddBias(dy, gradient.sum);
      db = gradient.Returned(bias);
    }
    return {dx, dw, db, at::Tensor(), at::Tensor()};
  }

 private:
  static at::Tensor Select(const at::Tensor& tensor, int64_t part) {
    return part < 0 ? tensor : tensor.detach().select(0, part);
  }
};

template <class Products>
class InPlaceLinear final : public Linear {
 public:
  InPlaceLinear(at::Tensor weight, at::Tensor bias, const LinearSpec& spec)
      : weight_(std::move(weight)),
        bias_(std::move(bias)),
        in_(spec.in),
        transposed_(spec.transposed),
        part_(spec.parts > 0 ? spec.part : -1) {}
  at::Tensor Forward(const at::Tensor& x) const override {
    TORCH_CHECK(x.dim() == 2 && x.size(1) == in_ && x.scalar_type() == weight_.scalar_type(), "Linear: x ",
                x.sizes(), " ", x.scalar_type(), ", weight ", weight_.sizes(), " ", weight_.scalar_type());
    return LinearFunction<Products>::apply(x.contiguous(), weight_, AsOptional(bias_), transposed_, part_);
  }

 private:
  at::Tensor weight_, bias_;
  int64_t in_;
  bool transposed_;
  int64_t part_;
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
    const at::Tensor weight = RequireTensor(parameters, spec.weight, spec.shape());
    const at::Tensor bias = FindBias(spec, parameters);
    if (weight.scalar_type() == at::kBFloat16 && (!weight.device().is_cpu() || bfloat16_dots_))
      return std::make_unique<InPlaceLinear<AtenProducts>>(weight, bias, spec);
    if (!HasKernels(weight) || !weight.is_contiguous()) return AtenFactory::Make(spec, parameters);
    return std::make_unique<InPlaceLinear<KernelProducts>>(weight, bias, spec);
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

at::Tensor RequireTensor(const NamedTensors& tensors, const std::string& name, at::IntArrayRef shape) {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw std::invalid_argument("tensor " + name + " is missing");
  if (found->second.sizes() != shape)
    throw std::invalid_argument("tensor " + name + " has shape " + Shape(found->second.sizes()) +
                                "; the config needs " + Shape(shape));
  return found->second;
}

std::vector<int64_t> LinearSpec::shape() const {
  std::vector<int64_t> sizes = {transposed ? in : out, transposed ? out : in};
  if (parts > 0) sizes.insert(sizes.begin(), parts);
  return sizes;
}

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
