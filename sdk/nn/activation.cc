#include "volery/nn/activation.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parallel.h"

namespace volery::nn {
namespace {

at::Tensor Forward(const at::Tensor& gate, const at::Tensor& up) {
  if (!HasKernels(gate)) return at::silu(gate) * up;
  const int64_t rows = gate.size(0), width = gate.size(1);
  at::Tensor out = at::empty({rows, width}, gate.options());
  const kernels::Table& table = TableFor(ElementOf(gate));
  ParallelRows(rows, width, [&](int64_t begin, int64_t end) {
    table.silu_gate(
        {At(gate, begin * gate.stride(0)), At(out, begin * width), gate.stride(0), width, end - begin, width},
        At(up, begin * up.stride(0)), up.stride(0));
  });
  return out;
}

struct SiluGateFunction : torch::autograd::Function<SiluGateFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& gate,
                            const at::Tensor& up) {
    ctx->save_for_backward({gate, up});
    return Forward(gate, up);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &gate = saved[0], &up = saved[1], dy = grads[0].contiguous();
    if (HasKernels(gate)) {
      at::Tensor dgate = at::empty_like(gate), dup = at::empty_like(up);
      const int64_t width = gate.size(1);
      const kernels::Table& table = TableFor(ElementOf(gate));
      ParallelRows(gate.size(0), 2 * width, [&](int64_t begin, int64_t end) {
        const int64_t at = begin * width;
        table.silu_gate_backward(
            {At(gate, at), At(up, at), At(dy, at), At(dgate, at), At(dup, at), (end - begin) * width});
      });
      return {dgate, dup};
    }
    return {at::silu_backward(dy * up, gate), at::silu(gate).mul_(dy)};
  }
};

}  // namespace

at::Tensor SiluGate(const at::Tensor& gate, const at::Tensor& up) {
  TORCH_CHECK(gate.dim() == 2 && gate.sizes() == up.sizes(), "SiluGate: gate ", gate.sizes(), ", up ",
              up.sizes());
  const at::Tensor g = gate.contiguous(), u = up.contiguous();
  if (at::GradMode::is_enabled() && (g.requires_grad() || u.requires_grad()))
    return SiluGateFunction::apply(g, u);
  return Forward(g, u);
}

at::Tensor SiluGateFused(const at::Tensor& gate_up) {
  const int64_t width = gate_up.size(1) / 2;
  return Forward(gate_up.narrow(1, 0, width), gate_up.narrow(1, width, width));
}

}  // namespace volery::nn
