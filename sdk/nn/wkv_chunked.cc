#include <ATen/ATen.h>

#include "volery/nn/wkv.h"

namespace volery::nn {
namespace {

constexpr int64_t kChunk = 16;
constexpr double kLargestRate = 1e4;  // e^-rate is 0 far below; keeps differences of sums of rates finite

// Tokens of one chunk, [C, heads, N]; log_w at most 0.
struct Chunk {
  at::Tensor r, k, v, log_w;
};

// With P the sum of log w up to and including a token, P' the one before it:
//   y_t = (r_t e^P'_t)^T S + sum over s < t of (r_t . k_s e^(P'_t - P_s)) v_s,
//   S' = e^P_end S + sum over s of (k_s e^(P_end - P_s)) v_s^T.
at::Tensor Run(const Chunk& c, at::Tensor& state) {
  const int64_t count = c.r.size(0);
  const at::Tensor sums = c.log_w.cumsum(0), before = sums - c.log_w, end = sums.select(0, count - 1);
  at::Tensor y = at::einsum("thn,hnm->thm", {c.r * before.exp(), state});
  if (count > 1) {
    const at::Tensor earlier =
        at::ones({count, count}, at::dtype(at::kBool).device(c.r.device())).tril(-1).view({count, count, 1, 1});
    const at::Tensor exponent = before.unsqueeze(1) - sums.unsqueeze(0);
    const at::Tensor decay = at::where(earlier, exponent, at::zeros_like(exponent)).exp() * earlier;
    const at::Tensor a = (c.r.unsqueeze(1) * c.k.unsqueeze(0) * decay).sum(-1);  // [t, s, heads]
    y = y + at::einsum("tsh,shm->thm", {a, c.v});
  }
  state = end.exp().unsqueeze(-1) * state + at::einsum("shn,shm->hnm", {c.k * (end - sums).exp(), c.v});
  return y;
}

}  // namespace

at::Tensor WkvChunked(const WkvInputs& in, int64_t heads, const at::Tensor& initial, at::Tensor* final) {
  const int64_t tokens = in.r.size(0), n = in.r.size(1) / heads;
  const auto type = in.r.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const auto split = [&](const at::Tensor& x) { return x.to(type).reshape({-1, heads, n}); };
  const at::Tensor r = split(in.r), v = split(in.v);
  const at::Tensor log_w = -split(in.decay).exp().clamp_max(kLargestRate).expand({tokens, heads, n});
  at::Tensor k = split(in.k);
  if (in.scale_key) k = k * -at::expm1(log_w);
  at::Tensor state = initial.defined() ? initial.to(type) : at::zeros({heads, n, n}, r.options().requires_grad(false));
  std::vector<at::Tensor> parts;
  for (int64_t t = 0; t < tokens; t += kChunk) {
    const int64_t count = std::min(kChunk, tokens - t);
    const auto part = [&](const at::Tensor& x) { return x.narrow(0, t, count); };
    parts.push_back(Run({part(r), part(k), part(v), part(log_w)}, state));
  }
  at::Tensor y = parts.empty() ? at::empty_like(v) : at::cat(parts);
  if (in.u.defined()) y = y + (r * split(in.u) * k).sum(-1, true) * v;
  if (final) *final = state;
  return y.reshape({tokens, heads * n}).to(in.r.scalar_type());
}

}  // namespace volery::nn
