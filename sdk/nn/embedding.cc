#include "volery/nn/embedding.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "weight_gradient.h"

namespace volery::nn {
namespace {

struct EmbeddingFunction : torch::autograd::Function<EmbeddingFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& weight,
                            const at::Tensor& tokens) {
    ctx->save_for_backward({weight, tokens});
    return weight.index_select(0, tokens);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &weight = saved[0], &tokens = saved[1];
    const at::NoGradGuard no_grad;
    WeightGradient gradient = GradientOf(weight);
    gradient.sum.index_add_(0, tokens, grads[0].to(gradient.sum.scalar_type()));
    return {gradient.Returned(weight), at::Tensor()};
  }
};

}  // namespace

at::Tensor Embedding(const at::Tensor& weight, const at::Tensor& tokens) {
  TORCH_CHECK(weight.dim() == 2 && tokens.dim() == 1 && tokens.scalar_type() == at::kLong,
              "Embedding: weight ", weight.sizes(), ", tokens ", tokens.sizes(), " ", tokens.scalar_type());
  return EmbeddingFunction::apply(weight, tokens);
}

}  // namespace volery::nn
