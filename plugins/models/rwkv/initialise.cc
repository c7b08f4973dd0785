#include "initialise.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "names.h"
#include "volery/nn/initialise.h"

namespace volery::rwkv {
namespace {

// Of layer i: depth i / (L - 1) from 0 to 1, height 1 - i / L.
struct Place {
  double depth, height;
  Place(int64_t layer, int64_t layers)
      : depth(layers > 1 ? static_cast<double>(layer) / static_cast<double>(layers - 1) : 0),
        height(1 - static_cast<double>(layer) / static_cast<double>(layers)) {}
};

// f(n) for each of the tensor's elements.
template <class F>
void Fill(at::Tensor& tensor, const F& f) {
  at::Tensor values = at::empty({tensor.numel()}, at::kDouble);
  for (int64_t n = 0; n < tensor.numel(); n++) values.data_ptr<double>()[n] = f(n);
  tensor.copy_(values.view(tensor.sizes()));
}

// The share of the current token, a_n^height and its variants; of the previous one in Finch.
void FillMix(at::Tensor& tensor, const Config& c, const Place& place, const std::string& name) {
  const double width = static_cast<double>(c.width);
  const bool ffn = name.starts_with("feed_forward.");
  const char stream = name.substr(name.rfind('_') + 1)[0];  // k, v, r, g, w, x
  double power = place.height, shift = 0;
  if (ffn && c.finch())
    power = std::pow(place.height, 3);
  else if (!ffn && stream == 'v')
    shift = 0.3 * place.depth;
  else if (!ffn && (stream == 'r' || stream == 'g'))
    power = place.height / 2;
  Fill(tensor, [&](int64_t n) {
    const double current = std::pow(static_cast<double>(n) / width, power) + shift;
    return c.finch() ? 1 - current : current;
  });
}

void FillMatrix(at::Tensor& tensor, const Config& c, const std::string& name, const std::string& full,
                uint64_t seed) {
  if (name == "embeddings.weight") return nn::FillUniform(tensor, 1e-4, seed, full);
  if (name == "attention.output.weight" || name == "feed_forward.value.weight" ||
      name == "feed_forward.receptance.weight") {
    tensor.zero_();
    return;
  }
  double gain = 1;
  if (name == "attention.key.weight" || name == "attention.gate.weight")
    gain = 0.1;
  else if (name == kHead)
    gain = c.vocabulary > c.width
               ? 0.5 * std::sqrt(static_cast<double>(c.vocabulary) / static_cast<double>(c.width))
               : 0.5;
  nn::FillOrthogonal(tensor, gain, seed, full);
}

void FillOne(at::Tensor& tensor, const Config& c, const Entry& entry, uint64_t seed) {
  const std::string& name = entry.name;
  const Place place(entry.layer, c.layers);
  const double last = static_cast<double>(c.width - 1);
  if (name == "attention.ln_x.weight") {
    tensor.fill_(std::pow(static_cast<double>(1 + entry.layer) / static_cast<double>(c.layers), 0.7));
  } else if (name.ends_with("time_decay")) {
    Fill(tensor, [&](int64_t n) {
      return -6 + 5 * std::pow(static_cast<double>(n) / last, 0.7 + 1.3 * place.depth);
    });
  } else if (name.ends_with("time_faaaa")) {
    Fill(tensor, [&](int64_t n) {
      return place.depth * (1 - static_cast<double>(n) / last) + 0.1 * static_cast<double>((n + 1) % 3 - 1);
    });
  } else if (name.ends_with("_w1") || name.ends_with("time_state") || name.ends_with("bias")) {
    tensor.zero_();
  } else if (name.ends_with("_w2")) {
    nn::FillUniform(tensor, 0.01, seed, FullName(entry));
  } else if (name.find("time_m") != std::string::npos) {
    FillMix(tensor, c, place, name);
  } else if (entry.weight_decay) {
    FillMatrix(tensor, c, name, FullName(entry), seed);
  } else {
    tensor.fill_(1);  // norms
  }
}

}  // namespace

void Initialise(const Config& config, native::NamedTensors& parameters, uint64_t seed) {
  const at::NoGradGuard no_grad;
  for (const Entry& entry : ListEntries(config)) FillOne(parameters.at(FullName(entry)), config, entry, seed);
}

}  // namespace volery::rwkv
