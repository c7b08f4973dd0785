#include "volery/nn/initialise.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <array>
#include <cmath>
#include <numbers>

#include "parallel.h"

namespace volery::nn {
namespace {

using Block = std::array<uint32_t, 4>;

// Philox4x32-10 (Salmon et al. 2011).
Block Philox(Block c, uint64_t key) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; round++) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

uint64_t HashName(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

// Two independent standard normals from two words (Box and Muller).
std::array<double, 2> Normals(uint32_t a, uint32_t b) {
  const double radius = std::sqrt(-2 * std::log((a + 0.5) * 0x1p-32)),
               angle = 2 * std::numbers::pi * (b + 0.5) * 0x1p-32;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// The tensor's elements from blocks of four random words; draw(words) gives four values in double.
template <class Draw>
void FillBlocks(at::Tensor& tensor, uint64_t seed, const std::string& name, const Draw& draw) {
  const int64_t count = tensor.numel();
  at::Tensor values = at::empty({count}, at::kDouble == tensor.scalar_type() ? at::kDouble : at::kFloat);
  const uint64_t hash = HashName(name);
  const bool wide = values.scalar_type() == at::kDouble;
  ParallelRows((count + 3) / 4, 150, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block++) {
      const std::array<double, 4> four =
          draw(Philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                       static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32)},
                      seed));
      for (int64_t i = 0; i < 4 && block * 4 + i < count; i++) {
        if (wide)
          values.data_ptr<double>()[block * 4 + i] = four[i];
        else
          values.data_ptr<float>()[block * 4 + i] = static_cast<float>(four[i]);
      }
    }
  });
  const at::NoGradGuard no_grad;
  tensor.copy_(values.view(tensor.sizes()));
}

}  // namespace

void FillNormal(at::Tensor& tensor, double std, uint64_t seed, const std::string& name) {
  FillBlocks(tensor, seed, name, [std](const Block& words) -> std::array<double, 4> {
    const auto x = Normals(words[0], words[1]), y = Normals(words[2], words[3]);
    return {x[0] * std, x[1] * std, y[0] * std, y[1] * std};
  });
}

void FillUniform(at::Tensor& tensor, double bound, uint64_t seed, const std::string& name) {
  FillBlocks(tensor, seed, name, [bound](const Block& words) {
    std::array<double, 4> out;
    for (size_t i = 0; i < 4; i++) out[i] = ((words[i] + 0.5) * 0x1p-31 - 1) * bound;
    return out;
  });
}

void FillOrthogonal(at::Tensor& tensor, double gain, uint64_t seed, const std::string& name) {
  TORCH_CHECK(tensor.dim() == 2, "FillOrthogonal: a matrix is needed, not ", tensor.sizes());
  const at::NoGradGuard no_grad;
  at::Tensor normal = at::empty(tensor.sizes(), at::kFloat);
  FillNormal(normal, 1, seed, name);
  const bool wide = tensor.size(0) < tensor.size(1);
  const auto [q, r] = at::linalg_qr(wide ? normal.t() : normal);
  const at::Tensor signs = at::sign(r.diagonal());
  const at::Tensor matrix = q * signs * gain;
  tensor.copy_(wide ? matrix.t() : matrix);
}

}  // namespace volery::nn
