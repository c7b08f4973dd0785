#include "app/pretrain_setup.h"

#include "app/mapping.h"
#include "core/config/checks.h"
#include "core/training/trainable.h"

namespace volery::app {
namespace {

StatusOr<data::TextStreamOptions> StreamOptions(const config::Recipe& recipe) {
  const config::PretrainRecipe& p = recipe.pretrain;
  data::TextStreamOptions options;
  options.shape = {p.context, p.carry, p.documents == "apart"};
  options.sequences = p.sequences;
  VOLERY_ASSIGN_OR_RETURN(options.order, data::ParseTextOrder(p.order));
  options.magic_prime = p.magic_prime;
  options.seed = static_cast<uint64_t>(recipe.seed);
  options.held_out = recipe.validation.file.empty() ? recipe.validation.sequences : 0;
  return options;
}

// `table`: of [[data]] or [validation].
template <class Table>
data::TextFile FileOf(const Table& table) {
  return {table.file, config::TextFormatOf(table.file, table.format), table.column, table.separator, table.labels};
}

}  // namespace

const data::TextStream* PretrainText::validation(const config::Recipe& recipe) const {
  if (recipe.validation.sequences == 0) return nullptr;
  return held_out ? &*held_out : &train;
}

StatusOr<data::EncodeDocument> MakeEncodeDocument(const policy::ModelSource& source, int64_t end_id) {
  const auto tokenizer = source.tokenizer.tokenizer;
  if (end_id >= tokenizer->size()) return InvalidError("pretrain.end_id = ", end_id, ", but the tokenizer has ", tokenizer->size(), " ids");
  std::optional<int32_t> end = source.tokenizer.eos;
  if (end_id >= 0) end = static_cast<int32_t>(end_id);
  return [tokenizer, end](const std::string& text) -> StatusOr<std::vector<int32_t>> {
    std::vector<int32_t> ids = tokenizer->Encode(text, {.add_special = false, .parse_special = false});
    if (end) ids.push_back(*end);
    return ids;
  };
}

namespace {

StatusOr<std::shared_ptr<const data::TokenSource>> OpenText(const data::TextFile& file, const policy::ModelSource& source,
                                                             const data::EncodeDocument& encode) {
  VOLERY_ASSIGN_OR_RETURN(auto tokens, data::OpenTokens(file, source.vocabulary(), encode));
  if (tokens->ignored() > 0 && tokens->ignored() == tokens->size())
    return InvalidError(file.file, ": every label in column \"", file.labels, "\" is -100, so nothing of it is to be predicted; "
                        "give the tokens to learn their own ids as labels");
  return tokens;
}

}  // namespace

StatusOr<PretrainText> MakePretrainText(const config::Recipe& recipe, const policy::ModelSource& source) {
  VOLERY_ASSIGN_OR_RETURN(const data::EncodeDocument encode, MakeEncodeDocument(source, recipe.pretrain.end_id));
  VOLERY_ASSIGN_OR_RETURN(data::TextStreamOptions options, StreamOptions(recipe));
  std::vector<data::TextSource> sources;
  for (const config::DataRecipe& d : recipe.data) {
    VOLERY_ASSIGN_OR_RETURN(auto tokens, OpenText(FileOf(d), source, encode));
    sources.push_back({std::move(tokens), d.file, d.weight});
  }
  VOLERY_ASSIGN_OR_RETURN(data::TextStream train, data::TextStream::Make(options, std::move(sources)));
  PretrainText text{std::move(train), std::nullopt};
  const config::ValidationRecipe& v = recipe.validation;
  if (v.file.empty()) return text;
  VOLERY_ASSIGN_OR_RETURN(auto tokens, OpenText(FileOf(v), source, encode));
  options.held_out = v.sequences;
  VOLERY_ASSIGN_OR_RETURN(text.held_out, data::TextStream::MakeHeldOut(options, {std::move(tokens), v.file, 1}));
  return text;
}

StatusOr<TensorChoices> CheckPretrain(const config::Recipe& recipe, const policy::ModelSource& source) {
  VOLERY_RETURN_IF_ERROR(MakeTrainerOptions(recipe).status());
  const config::PretrainRecipe& p = recipe.pretrain;
  if (p.carry > 1 && !source.info.recurrent) {
    return InvalidError("pretrain.carry = ", p.carry, ": ", source.info.family, " models carry no state over contexts; set carry = 1 and raise pretrain.context instead");
  }
  if (!source.info.recurrent && source.info.context > 0 && p.context > source.info.context) {
    return InvalidError("pretrain.context = ", p.context, " is more than the model's context of ", source.info.context, " tokens; lower it or set model.context");
  }
  TensorChoices tensors;
  VOLERY_ASSIGN_OR_RETURN(tensors.frozen, training::FrozenTensors(source.specs, p.trainable));
  VOLERY_ASSIGN_OR_RETURN(tensors.lr_scale, training::LearningRateScales(source.specs, tensors.frozen, p.lr_scale));
  return tensors;
}

StatusOr<std::unique_ptr<training::NextTokenTrainer>> MakeNextTokenTrainer(const config::Recipe& recipe, const policy::ModelSource& source,
                                                                           native::NamedTensors weights, const TensorChoices& tensors,
                                                                           distributed::Comm& comm) {
  training::NextTokenSetup setup;
  VOLERY_ASSIGN_OR_RETURN(setup.options, MakeTrainerOptions(recipe));
  VOLERY_ASSIGN_OR_RETURN(setup.model, source.Build(setup.options.dtype, setup.options.device));
  setup.initial = std::move(weights);
  setup.comm = &comm;
  setup.vocabulary = source.vocabulary();
  setup.frozen = tensors.frozen;
  setup.lr_scale = tensors.lr_scale;
  setup.l2wrap = recipe.pretrain.l2wrap;
  return training::NextTokenTrainer::Create(std::move(setup));
}

orchestration::PretrainOptions MakePretrainOptions(const config::Recipe& recipe) {
  return {recipe.steps, recipe.checkpoint.every, recipe.validation.every, recipe.trainer.max_skipped};
}

std::string DescribeText(const config::Recipe& recipe, const PretrainText& text) {
  std::string out;
  const auto& sources = text.train.sources();
  const double per_step = static_cast<double>(text.train.tokens_per_step());
  for (size_t i = 0; i < sources.size(); ++i) {
    const double share = text.train.share(i);
    const double epochs = static_cast<double>(recipe.steps * recipe.pretrain.sequences) * share / static_cast<double>(text.train.windows(i));
    out += Cat(sources[i].where, ": ", sources[i].tokens->size(), " tokens in ", sources[i].tokens->documents(), " documents, ", text.train.windows(i),
               " sequences, read ", epochs, " times", sources.size() > 1 ? Cat(", ", share * 100, " % of a step") : "", "\n");
  }
  out += Cat(recipe.pretrain.sequences, " sequences of ", recipe.pretrain.carry > 1 ? Cat(recipe.pretrain.carry, " x ") : "", recipe.pretrain.context,
             " tokens a step, ", per_step * static_cast<double>(recipe.steps), " tokens in ", recipe.steps, " steps\n");
  if (recipe.validation.sequences > 0) {
    out += Cat(text.validation(recipe)->held_out(), " sequences held out", text.held_out ? Cat(" from ", recipe.validation.file) : "", "\n");
  }
  return out;
}

}  // namespace volery::app
