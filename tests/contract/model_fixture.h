#pragma once
// What the model tests share: installed model plugins, tiny models, safetensors files as tensors, both paths
// in one call.

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "volery/native/model.h"

namespace volery::testing {

struct FamilyCase {
  std::string plugin, family;
  native::ModelFamily* implementation = nullptr;
};
// Every family of every model plugin in the build's plugin folder; what can't be loaded is named on standard
// error.
std::vector<FamilyCase> InstalledFamilies();
native::ModelFamily& FindFamily(const std::string& family);
std::string TestName(std::string family);  // as a part of a test's name
// What the tests must know of a family: a token's position counts beyond its order.
bool ReadsPositions(const std::string& family);
// Parameters that by the family's definition get no gradient.
bool IsUnused(const native::NamedTensors& parameters, const std::string& name);

native::NamedTensors ReadSafetensors(const std::string& path);
std::string ReadText(const std::string& path);

// A model with two layers, grouped-query heads and weights large enough for logits of order one.
struct TinyModel {
  std::unique_ptr<nn::LinearFactory> linears;
  std::unique_ptr<native::Model> model;
  native::NamedTensors parameters;
};
TinyModel MakeTiny(const FamilyCase& family, at::ScalarType dtype, bool tied = true);
TinyModel LoadModelFolder(const std::string& folder,
                          at::ScalarType dtype);  // config.json and model.safetensors
// The same weights in another dtype.
TinyModel Convert(const FamilyCase& family, const TinyModel& from, at::ScalarType dtype,
                  const std::map<std::string, std::string>& options = {});

at::Tensor RandomTokens(int64_t count, int64_t vocabulary, uint64_t seed);
// Segments of these lengths, each from position 0 or continuing its parent.
native::Batch MakeBatch(const std::vector<at::Tensor>& segments, const std::vector<int64_t>& parents);
// Logits [T, V] of the training path.
at::Tensor TrainLogits(native::Model& model, const native::Batch& batch);

// Drives the sampling path.
class Sampler {
 public:
  Sampler(const TinyModel& tiny, at::ScalarType dtype);
  int64_t Slot(int64_t expected = 16) { return state->Allocate(expected); }
  // Hidden rows of tokens[first ...] read into `slot`.
  at::Tensor Read(int64_t slot, const at::Tensor& tokens, int64_t first = 0);
  at::Tensor Read(const std::vector<std::pair<int64_t, at::Tensor>>& chunks, int64_t first = 0,
                  int64_t prompt_remaining = 0);
  at::Tensor Logits(const at::Tensor& hidden) { return model.Logits(*weights, hidden); }

  native::Model& model;
  std::shared_ptr<const native::PreparedWeights> weights;
  std::unique_ptr<native::DecodeState> state;
};

double MaxDifference(const at::Tensor& a, const at::Tensor& b);

}  // namespace volery::testing
