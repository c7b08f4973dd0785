#pragma once
// From a recipe of pretraining to its parts: the text, what is held out, which tensors train. Reads and tokenises
// the text files; writes nothing.

#include <optional>
#include <map>
#include <set>
#include <string>

#include "app/run_setup.h"
#include "core/data/text_stream.h"
#include "core/orchestration/pretrain_loop.h"
#include "core/training/next_token_trainer.h"

namespace volery::app {

struct PretrainText {
  data::TextStream train;
  std::optional<data::TextStream> held_out;  // a file of its own; nothing: windows of `train`, where the recipe asks for it
  // What is measured; nullptr: nothing is.
  const data::TextStream* validation(const config::Recipe& recipe) const;
};

// Errors name the file: no text, missing columns, ids outside the vocabulary, less text than a sequence.
StatusOr<PretrainText> MakePretrainText(const config::Recipe& recipe, const policy::ModelSource& source);

// Tokens and the end token of a document (pretrain.end_id, or the tokenizer's own; none where there is none).
StatusOr<data::EncodeDocument> MakeEncodeDocument(const policy::ModelSource& source, int64_t end_id);

struct TensorChoices {
  std::set<std::string> frozen;            // don't train
  std::map<std::string, double> lr_scale;  // in place of the model's own
};
// Everything that must be known to be wrong before a run folder is made. What the recipe says of single tensors.
StatusOr<TensorChoices> CheckPretrain(const config::Recipe& recipe, const policy::ModelSource& source);

StatusOr<std::unique_ptr<training::NextTokenTrainer>> MakeNextTokenTrainer(const config::Recipe& recipe, const policy::ModelSource& source,
                                                                           native::NamedTensors weights, const TensorChoices& tensors,
                                                                           distributed::Comm& comm);
orchestration::PretrainOptions MakePretrainOptions(const config::Recipe& recipe);

// For `volery plan`: each text with its tokens, documents and sequences, what a step reads, how often it is read.
std::string DescribeText(const config::Recipe& recipe, const PretrainText& text);

}  // namespace volery::app
