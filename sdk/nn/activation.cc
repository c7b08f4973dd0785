#include "volery/nn/activation.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel.h"

namespace volery::nn {
namespace {

using kernels::Activation;

Activation Of(GeluForm form) {
  return form == GeluForm::kExact ? Activation::kGelu : Activation::kGeluTanh;
}

at::Tensor ValueByAten(Activation f, const at::Tensor& x) {
  switch (f) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kSquaredRelu:
      return at::relu(x).square();
    case Activation::kSigmoid:
      return at::sigmoid(x);
    case Activation::kTanh:
      return at::tanh(x);
  }
  TORCH_CHECK(false, "no such activation");
}

// dy f'(x).
at::Tensor GradientByAten(Activation f, const at::Tensor& x, const at::Tensor& dy) {
  switch (f) {
    case Activation::kSilu:
      return at::silu_backward(dy, x);
    case Activation::kGelu:
      return at::gelu_backward(dy, x);
    case Activation::kGeluTanh:
      return at::gelu_backward(dy, x, "tanh");
    case Activation::kSquaredRelu:
      return at::relu(x).mul_(2).mul_(dy);
    case Activation::kSigmoid:
      return at::sigmoid_backward(dy, at::sigmoid(x));
    case Activation::kTanh:
      return at::tanh_backward(dy, at::tanh(x));
  }
  TORCH_CHECK(false, "no such activation");
}

// body(begin, end) over ranges of `count` elements.
template <class Body>
void ParallelElements(int64_t count, const Body& body) {
  constexpr int64_t kBlock = 256;
  ParallelRows((count + kBlock - 1) / kBlock, kBlock,
               [&](int64_t begin, int64_t end) { body(begin * kBlock, std::min(count, end * kBlock)); });
}

// f(x), times `up` where it is defined; both contiguous.
at::Tensor Forward(Activation f, const at::Tensor& x, const at::Tensor& up) {
  if (!HasKernels(x)) {
    const at::Tensor y = ValueByAten(f, x);
    return up.defined() ? y * up : y;
  }
  at::Tensor out = at::empty(x.sizes(), x.options());
  const kernels::Table& table = TableFor(ElementOf(x));
  ParallelElements(x.numel(), [&](int64_t begin, int64_t end) {
    table.activate(f, {At(x, begin), At(out, begin), 0, 0, 1, end - begin},
                   up.defined() ? At(up, begin) : nullptr, 0);
  });
  return out;
}

at::Tensor FusedForward(Activation f, const at::Tensor& gate_up) {
  TORCH_CHECK(gate_up.dim() == 2 && gate_up.size(1) % 2 == 0, "fused gate: rows ", gate_up.sizes());
  const int64_t rows = gate_up.size(0), width = gate_up.size(1) / 2;
  if (!HasKernels(gate_up))
    return ValueByAten(f, gate_up.narrow(1, 0, width)) * gate_up.narrow(1, width, width);
  const at::Tensor in = gate_up.contiguous();
  at::Tensor out = at::empty({rows, width}, in.options());
  const kernels::Table& table = TableFor(ElementOf(in));
  ParallelRows(rows, width, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * 2 * width;
    table.activate(f, {At(in, at), At(out, begin * width), 2 * width, width, end - begin, width},
                   At(in, at + width), 2 * width);
  });
  return out;
}

struct ActivationFunction : torch::autograd::Function<ActivationFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                            const std::optional<at::Tensor>& optional_up, int64_t f) {
    const at::Tensor up = optional_up.value_or(at::Tensor());
    ctx->save_for_backward({x, up});
    ctx->saved_data["f"] = f;
    return Forward(static_cast<Activation>(f), x, up);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &up = saved[1], dy = grads[0].contiguous();
    const auto f = static_cast<Activation>(ctx->saved_data["f"].toInt());
    if (!HasKernels(x))
      return {GradientByAten(f, x, up.defined() ? dy * up : dy),
              up.defined() ? ValueByAten(f, x).mul_(dy) : at::Tensor(), at::Tensor()};
    at::Tensor dx = at::empty_like(x), dup = up.defined() ? at::empty_like(up) : at::Tensor();
    const kernels::Table& table = TableFor(ElementOf(x));
    const auto address = [](const at::Tensor& tensor, int64_t index) {
      return tensor.defined() ? At(tensor, index) : nullptr;
    };
    ParallelElements(x.numel(), [&](int64_t begin, int64_t end) {
      table.activate_backward(f, {At(x, begin), address(up, begin), At(dy, begin), At(dx, begin),
                                  address(dup, begin), end - begin});
    });
    return {dx, dup, at::Tensor()};
  }
};

at::Tensor Apply(Activation f, const at::Tensor& x, const at::Tensor& up) {
  TORCH_CHECK(at::isFloatingType(x.scalar_type()), "activation: x is ", x.scalar_type());
  if (at::GradMode::is_enabled() && (x.requires_grad() || (up.defined() && up.requires_grad())))
    return ActivationFunction::apply(x, AsOptional(up), static_cast<int64_t>(f));
  return Forward(f, x, up);
}

at::Tensor Gate(Activation f, const at::Tensor& gate, const at::Tensor& up) {
  TORCH_CHECK(gate.dim() == 2 && gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(),
              "gated unit: gate ", gate.sizes(), " ", gate.scalar_type(), ", up ", up.sizes(), " ",
              up.scalar_type());
  return Apply(f, gate.contiguous(), up.contiguous());
}

}  // namespace

at::Tensor Gelu(const at::Tensor& x, GeluForm form) {
  return Apply(Of(form), x.contiguous(), {});
}
at::Tensor SquaredRelu(const at::Tensor& x) {
  return Apply(Activation::kSquaredRelu, x.contiguous(), {});
}
at::Tensor Sigmoid(const at::Tensor& x) {
  return Apply(Activation::kSigmoid, x.contiguous(), {});
}
at::Tensor Tanh(const at::Tensor& x) {
  return Apply(Activation::kTanh, x.contiguous(), {});
}

at::Tensor SiluGate(const at::Tensor& gate, const at::Tensor& up) {
  return Gate(Activation::kSilu, gate, up);
}
at::Tensor GeluGate(const at::Tensor& gate, const at::Tensor& up, GeluForm form) {
  return Gate(Of(form), gate, up);
}
at::Tensor SigmoidGate(const at::Tensor& gate, const at::Tensor& up) {
  return Gate(Activation::kSigmoid, gate, up);
}

at::Tensor SiluGateFused(const at::Tensor& gate_up) {
  return FusedForward(Activation::kSilu, gate_up);
}
at::Tensor GeluGateFused(const at::Tensor& gate_up, GeluForm form) {
  return FusedForward(Of(form), gate_up);
}

}  // namespace volery::nn
