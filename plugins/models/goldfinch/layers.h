#pragma once
// The layers (arXiv 2407.12077, sections 3.2 to 3.5), written once for training and sampling: products and
// other weights come from a Source, and what depends on the neighbours of a token (token shift, recurrence,
// attention) stands behind LayerOps.

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "config.h"
#include "volery/nn/linear.h"
#include "volery/nn/rotary.h"
#include "volery/nn/token_shift.h"
#include "volery/nn/wkv.h"

namespace volery::goldfinch {

// ---- Weights --------------------------------------------------------------------------------------------

struct Product {
  std::unique_ptr<nn::Linear> trained;
  std::unique_ptr<nn::PackedLinear> packed;
  at::Tensor operator()(const at::Tensor& x) const {
    return trained ? trained->Forward(x) : packed->Forward(x);
  }
};

// Products of one input: one after the other in training, in one where they are packed together.
struct Products {
  std::vector<std::unique_ptr<nn::Linear>> trained;
  std::unique_ptr<nn::PackedLinear> packed;
  std::vector<int64_t> widths;
  std::vector<at::Tensor> operator()(const at::Tensor& x) const;
};

// Parameters in training, copies of one version in sampling.
struct Source {
  std::function<at::Tensor(const std::string& name, at::IntArrayRef shape)> tensor;
  std::function<Products(const std::vector<nn::LinearSpec>& specs)> products;
  // A product cut by its inputs, so many in each part, in float32; empty: it has to be left whole (training).
  std::function<std::vector<Product>(const nn::LinearSpec& spec, const std::vector<int64_t>& widths)> cut = {};
  Product product(const nn::LinearSpec& spec) const;
};

struct Norm {
  at::Tensor weight, bias;
};
// tanh(x W1) W2
struct LowRank {
  Product down, up;
};
// m_j = tanh(x W1)_j W2[j] of each stream j, and what they are added to.
struct MixWeights {
  at::Tensor mix_x;  // of the input
  std::vector<at::Tensor> mix;
  Product down;
  std::vector<Product> up;
};

struct FinchWeights {  // x060 and x060c2
  MixWeights mix;
  LowRank decay, value2;  // value2: Finch-C2
  at::Tensor bonus;
  Product receptance, key, value, gate, output;  // gate: Finch
  Norm out;
};
struct GoldWeights {
  at::Tensor mix_x, mix_q, mix_cache, mix_k, mix_v;
  LowRank query_mix, key_more, value_more;
  Product mix_down, mix_up_k, mix_up_v, query, output;
  Norm q, k, v, out;
};
struct GptAlphaWeights {
  MixWeights mix;
  Product query, key, value, output;
  Norm q, k, v, out;
};
struct LlamaWeights {
  Products query_key_value;
  Product output;
};
struct ChannelWeights {
  at::Tensor mix_k, mix_r;         // RWKV
  Product key, receptance, value;  // RWKV
  Products gate_up;                // Llama
  Product down;                    // Llama
};

struct Layer {
  int64_t index = 0;
  Norm before_time, before_channel;
  std::variant<FinchWeights, GoldWeights, GptAlphaWeights, LlamaWeights> time;
  ChannelWeights channel;
};
// All but the layers and the embedding.
struct Ends {
  Norm embedded, last;
  Product head, compress;                   // compress: GOLD, as what follows
  Product expand;                           // of x0 and the compressed key in one row; or
  Product expand_token, expand_compressed;  // of either, in float32, to be added up: the same bits
  bool cut() const { return expand_token.packed != nullptr; }
};

Layer TakeLayer(const Config& config, int64_t index, const Source& source);
Ends TakeEnds(const Config& config, const Source& source);
nn::LinearSpec HeadSpec(const Config& config);

// ---- The layers -----------------------------------------------------------------------------------------

enum class Shift {
  kTime,       // input of a layer's time mixer
  kChannel,    // of its channel mixer
  kEmbedding,  // the normed embeddings, the same for all GOLD layers
  kProtoKey    // the proto-keys, likewise
};

// What GOLD layers read of each token, past ones included; embedded: as UnitEmbedding gives it.
struct GoldRows {
  at::Tensor embedded, proto_keys;  // [T, W]
};

class LayerOps {
 public:
  virtual ~LayerOps() = default;
  // `again`: the same rows are mixed once more after this.
  virtual std::vector<at::Tensor> Mix(Shift shift, int64_t layer, const at::Tensor& z,
                                      const std::vector<nn::MixStream>& streams, bool again) = 0;
  virtual at::Tensor Scan(int64_t layer, const nn::WkvInputs& in) = 0;
  // q [M, W], k and v [T, W], rotary applied -> [M, W].
  virtual at::Tensor Attend(int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) = 0;
  // The same for a GOLD layer, whose keys and values GoldKeysValues makes of `rows`.
  virtual at::Tensor AttendGold(const Layer& layer, const at::Tensor& q, const GoldRows& rows);

  explicit LayerOps(const Config& c) : config(c) {}
  const Config& config;
  nn::RotaryRows query_rotary, key_rotary;  // undefined: none
};

struct KeysValues {
  at::Tensor k, v;
};
// Mixes rows with those before them.
using MixRows = std::function<at::Tensor(const at::Tensor& z, const nn::MixStream& stream)>;
// What depends on a token and the one before it only: the keys' mix before its last product [T, R], and the
// values [T, W].
struct GoldPairs {
  at::Tensor key_mix, v;
};
GoldPairs GoldPairsOf(const Config& config, const Layer& layer, const at::Tensor& embedded, const MixRows& mix);
// The keys, rotary applied.
at::Tensor GoldKeys(const Config& config, const Layer& layer, const at::Tensor& proto_keys,
                    const at::Tensor& key_mix, const nn::RotaryRows& rotary, const MixRows& mix);
// ops.Mix is asked for kEmbedding and kProtoKey only.
KeysValues GoldKeysValues(const Config& config, const Layer& layer, const GoldRows& rows,
                          const nn::RotaryRows& rotary, LayerOps& ops);

// x [R, W] -> [R, W]; `gold` is read by GOLD layers only.
at::Tensor RunLayer(const Config& config, const Layer& layer, const at::Tensor& x, const GoldRows& gold,
                    LayerOps& ops);
at::Tensor Normed(const Norm& norm, const at::Tensor& x, const Config& config);
// x0 as GOLD layers read it; proto-keys of x0 and compressed keys (equation 15).
at::Tensor UnitEmbedding(const at::Tensor& x0);
at::Tensor ProtoKeys(const Ends& ends, const at::Tensor& x0, const at::Tensor& compressed);
// The same where the product is cut and its first part is there: token [R, W] float32.
at::Tensor TokenPart(const Ends& ends, const at::Tensor& x0);
at::Tensor ProtoKeysOfParts(const Ends& ends, const at::Tensor& token, const at::Tensor& compressed);
// Turns pairs of neighbouring elements of each head (RoFormer, arXiv 2104.09864), and leaves each head's
// first elements in its first half: queries and keys alike, so that products of the two are what they were.
// Undefined rows: x as it is.
at::Tensor Rotated(const Config& config, const at::Tensor& x, const nn::RotaryRows& rows);

}  // namespace volery::goldfinch
