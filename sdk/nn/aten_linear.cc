#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>

#include <atomic>
#include <stdexcept>

#include "volery/nn/linear.h"

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

class AtenLinear final : public Linear {
 public:
  AtenLinear(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}
  at::Tensor Forward(const at::Tensor& x) const override {
    return at::linear(x, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt);
  }

 private:
  at::Tensor weight_, bias_;
};

class AtenPacked final : public PackedLinear {
 public:
  AtenPacked(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}
  at::Tensor Forward(const at::Tensor& x) const override {
    return at::linear(x, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt);
  }
  int64_t bytes() const override {
    return static_cast<int64_t>(weight_.nbytes() + (bias_.defined() ? bias_.nbytes() : 0));
  }

 private:
  at::Tensor weight_, bias_;
};

// oneDNN's blocked layout, packed once a version: two to three times at::linear for few rows.
class OneDnnPacked final : public PackedLinear {
 public:
  // Throws c10::Error where this build or processor has no such product.
  OneDnnPacked(const at::Tensor& weight, at::Tensor bias) : bias_(std::move(bias)), out_(weight.size(0)) {
    static const auto reorder = Operator("mkldnn::_reorder_linear_weight")
                                    .typed<at::Tensor(const at::Tensor&, std::optional<c10::SymInt>)>();
    weight_ = reorder.call(weight, std::nullopt);
    bytes_ = static_cast<int64_t>(weight.nbytes() + (bias_.defined() ? bias_.nbytes() : 0));
    Forward(at::zeros({1, weight.size(1)}, weight.options()));
  }
  at::Tensor Forward(const at::Tensor& x) const override {
    static const auto linear =
        Operator("mkldnn::_linear_pointwise")
            .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                              std::string_view, c10::List<std::optional<at::Scalar>>,
                              std::optional<std::string_view>)>();
    if (x.size(0) == 0) return at::empty({0, out_}, x.options());
    return linear.call(x, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt, "none",
                       c10::List<std::optional<at::Scalar>>(), "");
  }
  int64_t bytes() const override { return bytes_; }

 private:
  static c10::OperatorHandle Operator(const char* name) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
  }
  at::Tensor weight_, bias_;
  int64_t out_ = 0, bytes_ = 0;
};

std::unique_ptr<PackedLinear> PackOne(const at::Tensor& weight, const at::Tensor& bias) {
  if (weight.device().is_cpu() &&
      (weight.scalar_type() == at::kFloat || weight.scalar_type() == at::kBFloat16)) {
    static std::atomic<bool> available[2] = {true, true};
    std::atomic<bool>& here = available[weight.scalar_type() == at::kBFloat16];
    if (here) {
      try {
        return std::make_unique<OneDnnPacked>(weight, bias);
      } catch (const c10::Error&) {
        here = false;
      }
    }
  }
  return std::make_unique<AtenPacked>(weight, bias);
}

class AtenFactory final : public LinearFactory {
 public:
  std::unique_ptr<Linear> Make(const LinearSpec& spec, const NamedTensors& parameters) override {
    return std::make_unique<AtenLinear>(Find(parameters, spec.weight, {spec.out, spec.in}),
                                        Bias(spec, parameters));
  }

  std::unique_ptr<PackedLinear> Pack(const std::vector<LinearSpec>& fused,
                                     const NamedTensors& weights) const override {
    std::vector<at::Tensor> w, b;
    bool any_bias = false;
    for (const LinearSpec& spec : fused) {
      w.push_back(Find(weights, spec.weight, {spec.out, spec.in}).detach());
      b.push_back(Bias(spec, weights));
      any_bias |= b.back().defined();
    }
    at::Tensor bias;
    if (any_bias) {
      for (size_t i = 0; i < b.size(); i++)
        b[i] = b[i].defined() ? b[i].detach() : at::zeros({fused[i].out}, w[i].options());
      bias = at::cat(b);
    }
    const at::NoGradGuard no_grad;
    return PackOne(w.size() == 1 ? w[0].contiguous() : at::cat(w), bias);
  }

 private:
  static at::Tensor Bias(const LinearSpec& spec, const NamedTensors& tensors) {
    return spec.bias.empty() ? at::Tensor() : Find(tensors, spec.bias, {spec.out});
  }
};

}  // namespace

std::unique_ptr<LinearFactory> MakeAtenLinearFactory() {
  return std::make_unique<AtenFactory>();
}

}  // namespace volery::nn
