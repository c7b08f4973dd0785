#pragma once
// The seam of a model plugin (native kind: C++ with LibTorch types; host and plugin are built from one SDK, which the
// build tag enforces). A plugin gives one ModelFamily; the family makes Models from a config; a Model trains in blocks
// that the host walks, and samples from prepared (packed) weights over decode slots.
//
// Errors inside this kind are exceptions (std::invalid_argument for configs and inputs, c10::Error from LibTorch); the
// host catches them. Shapes: T tokens of one batch, R rows, W width, V vocabulary.

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "volery/nn/linear.h"

namespace volery::native {

using nn::NamedTensors;  // std::map<std::string, at::Tensor>

// ---- Description -----------------------------------------------------------------------------------------------

struct TensorSpec {
  std::string name;             // as in the Hugging Face file
  std::vector<int64_t> shape;
  bool weight_decay = true;     // matrices yes; norms and biases no
  double lr_scale = 1;
};

// What a decode slot holds. bytes of a slot with n tokens = bytes_per_slot + n * bytes_per_token (at the sampler's dtype).
struct StateSpec {
  int64_t bytes_per_slot = 0;
  int64_t bytes_per_token = 0;
  bool readable_with_other_weights = true;   // false: on_update must be reread
  std::string holds;                         // for people: "keys and values of 30 layers"
  int64_t shared_bytes = 0;                  // beside the slots, for all of them together, at most
};

struct ModelInfo {
  std::string family;           // "qwen2" | "qwen3" | "llama" ...
  int64_t layers = 0, width = 0, vocabulary = 0, context = 0, parameters = 0;
  bool tied = false;            // the output matrix is the embedding
  std::vector<int64_t> stop_ids;// eos ids that the config names
  int64_t saved_elements = 0;   // that one block keeps a token for its backward pass, for `volery plan`; 0: unknown
  bool recurrent = false;       // training can go on from a state: Batch::initial, TrainContext::FinalState
};

// A tensor of a foreign file (GGUF, .pth): where it goes and how its rows must be permuted.
struct ImportedTensor {
  std::string source, target;
  int64_t unpermute_heads = 0;  // > 0: rows were interleaved for pairwise rotary with this many heads; undo
};
struct FileTensor {
  std::string name;
  std::vector<int64_t> shape;
};
using MetaValue = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;
struct ImportPlan {
  std::string config_json;      // in the form of config.json
  std::vector<ImportedTensor> tensors;
};

// From-scratch keys, the same for all families. 0: the family's default.
struct ScratchConfig {
  std::string family;
  int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, ffn_width = 0, vocabulary = 0, context = 0;
  bool tied = true;
  int64_t bos_id = -1, eos_id = -1, pad_id = -1;
};

// ---- Training --------------------------------------------------------------------------------------------------

// Tokens [begin, end) of a batch. `parent` is the index of an earlier segment, the prompt that this one continues (its
// tokens are attended to and its positions continue), or -1. No other leak between segments.
struct Segment {
  int64_t begin = 0, end = 0, parent = -1;
};
struct Batch {
  at::Tensor tokens;             // [T] int64
  at::Tensor positions;          // [T] int64
  std::vector<Segment> segments; // ascending, disjoint, covering [0, T); a parent precedes its children
  // Recurrent models (ModelInfo::recurrent): for each segment the state that it goes on from, as FinalState gave it for
  // the text before it; undefined, or an empty list: from the start of a text. Only for segments without a parent.
  std::vector<at::Tensor> initial;
  bool keep_final = false;       // FinalState will be asked for
};

// The plugin's own object for one forward pass (masks, rotary tables ...). Lives until backward has run.
class TrainContext {
 public:
  virtual ~TrainContext() = default;
  // Of a recurrent model, when all blocks have run: what `segment` leaves behind, without a gradient, one float32 tensor
  // whose layout is the plugin's own. Undefined where the batch didn't ask for it (keep_final).
  virtual at::Tensor FinalState(int64_t /*segment*/) const { return {}; }
};

// ---- Sampling --------------------------------------------------------------------------------------------------

// Packed weights of one version; immutable; made off the sampler's thread; shares no memory with the named tensors.
class PreparedWeights {
 public:
  virtual ~PreparedWeights() = default;
  virtual int64_t version() const = 0;
  virtual int64_t bytes() const = 0;
};

// All decode slots of one engine. Not thread-safe.
class DecodeState {
 public:
  virtual ~DecodeState() = default;
  virtual int64_t Allocate(int64_t expected_tokens) = 0;  // an empty slot; expected_tokens is a reservation hint
  virtual int64_t Fork(int64_t slot, int64_t expected_tokens) = 0;  // a new slot with a copy of the state
  virtual void Drop(int64_t slot) = 0;
  virtual void Clear(int64_t slot) = 0;                   // back to zero tokens (reread)
  virtual int64_t Length(int64_t slot) const = 0;         // tokens read so far
  virtual int64_t bytes() const = 0;
};

// Tokens to read into a slot. Hidden rows are returned for tokens[first_row ...]; first_row == tokens.size(): none.
struct Chunk {
  int64_t slot = 0;
  std::span<const int32_t> tokens;
  int64_t first_row = 0;
  int64_t prompt_remaining = 0;  // prompt tokens of this slot still to come after this chunk
};

// ---- The model -------------------------------------------------------------------------------------------------

// Calls for training come from one thread, calls for sampling from one (other) thread; Prepare from any thread.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  virtual const std::string& config_json() const = 0;        // what is written as config.json (dtype key set by the host)
  virtual const std::vector<TensorSpec>& parameters() const = 0;  // fixed order
  virtual StateSpec state_spec(c10::ScalarType sampler_dtype) const = 0;
  // Fills freshly allocated float tensors as the family's paper (or reference implementation) initialises them.
  // A pure function of the seed.
  virtual void Initialise(NamedTensors& parameters, uint64_t seed) const = 0;

  // Training. Bind once: the host owns the tensors and updates them in place.
  virtual void Bind(const NamedTensors& parameters) = 0;
  virtual int64_t blocks() const = 0;
  virtual std::unique_ptr<TrainContext> Begin(const Batch& batch) = 0;
  virtual at::Tensor Embed(const Batch& batch, TrainContext& ctx) = 0;                     // [T, W]
  virtual at::Tensor Block(int64_t block, const at::Tensor& x, TrainContext& ctx) = 0;     // [T, W] -> [T, W]
  virtual at::Tensor Final(const at::Tensor& x) = 0;                                       // [R, W] -> hidden [R, W]
  virtual at::Tensor Logits(const at::Tensor& hidden) = 0;                                 // [R, W] -> [R, V]

  // Sampling.
  // Copies what it needs, at the dtype and on the device of BuildOptions: the tensors may change when it has returned.
  virtual std::shared_ptr<const PreparedWeights> Prepare(const NamedTensors& weights, int64_t version) const = 0;
  virtual std::unique_ptr<DecodeState> MakeState(c10::ScalarType dtype) const = 0;
  // Reads all chunks (prompt chunks and single tokens mixed; at most one chunk a slot) and returns the hidden rows asked
  // for, in chunk order: [R, W], exactly the tensor that the head reads.
  virtual at::Tensor Advance(const PreparedWeights& weights, DecodeState& state, std::span<const Chunk> chunks) const = 0;
  virtual at::Tensor Logits(const PreparedWeights& weights, const at::Tensor& hidden) const = 0;  // [R, W] -> [R, V] float32
};

struct BuildOptions {
  c10::ScalarType dtype = c10::ScalarType::Float;   // of parameters in training and of packed weights in sampling
  c10::Device device = c10::Device(c10::DeviceType::CPU);
  nn::LinearFactory* linears = nullptr;             // the host's; outlives the model
  // Choices of the family's own that belong to a run, not to the model: {"cache", "compressed"}. Unknown ones are
  // refused by name.
  std::map<std::string, std::string> options = {};
};

// For families without such choices. Throws std::invalid_argument, naming the first.
inline void RefuseOptions(const BuildOptions& build) {
  for (const auto& [name, value] : build.options)
    throw std::invalid_argument("option " + name + " = " + value + ": this family of models has no such choice");
}

// One a plugin; stateless, thread-safe.
class ModelFamily {
 public:
  virtual ~ModelFamily() = default;
  virtual std::vector<std::string> families() const = 0;      // {"qwen2", "qwen3", "llama"}: values of model_type and of GGUF's architecture
  // `config_json`: the text of config.json; keys it can't honour are refused by name.
  virtual std::unique_ptr<Model> Build(const std::string& config_json, const BuildOptions& options) const = 0;
  virtual std::string ScratchConfigJson(const ScratchConfig& config) const = 0;
  // `config_json` with what it leaves to the shapes of the folder's tensors. Throws where they contradict it.
  virtual std::string CompleteConfig(const std::string& config_json, const std::vector<FileTensor>& /*tensors*/) const {
    return config_json;
  }
  // `metadata`: GGUF keys; for each float32 tensor of one dimension outside the blocks (a name that doesn't begin with
  // "blk."), also "tensor/<name>" with its values as std::vector<double>. `tensors`: names in the file.
  virtual ImportPlan ImportGguf(const std::map<std::string, MetaValue>& metadata, const std::vector<std::string>& tensors) const = 0;
  // A PyTorch checkpoint (.pth) of the family's own training code: none where these tensors are not such a one. Throws where
  // they are, but can't be read (a tensor missing or surplus, a version that isn't supported), naming what is wrong.
  virtual std::optional<ImportPlan> ImportPth(const std::vector<FileTensor>& /*tensors*/) const { return std::nullopt; }
  // All tensors of such a file for a model of this config, in its order; `source` is the name in the file. Empty: the
  // family has no such files.
  virtual std::vector<ImportedTensor> PthTensors(const std::string& /*config_json*/) const { return {}; }
};

}  // namespace volery::native
