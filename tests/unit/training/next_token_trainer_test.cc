#include "core/training/next_token_trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/base/files.h"
#include "core/distributed/single_comm.h"
#include "core/policy/version.h"
#include "core/training/trainable.h"
#include "tiny_model.h"

namespace volery::training {
namespace {

// s_t = s_{t-1} / 2 + x_t K, y_t = x_t + tanh(s_t) V in every block; no positions.
class RecurrentModel : public TinyModel {
 public:
  RecurrentModel() : info_(TinyModel::info()) { info_.recurrent = true; }
  const native::ModelInfo& info() const override { return info_; }
  void Bind(const native::NamedTensors& parameters) override {
    TinyModel::Bind(parameters);
    mine_ = parameters;
  }
  std::unique_ptr<native::TrainContext> Begin(const native::Batch& batch) override {
    auto context = std::make_unique<Context>();
    context->batch = batch;
    context->final.resize(batch.segments.size());
    for (at::Tensor& state : context->final)
      state = at::zeros({kBlocks, kWidth}, at::TensorOptions().dtype(at::kFloat));
    return context;
  }
  at::Tensor Embed(const native::Batch& batch, native::TrainContext&) override {
    return at::embedding(mine_.at("embed"), batch.tokens);
  }
  at::Tensor Block(int64_t block, const at::Tensor& x, native::TrainContext& ctx) override {
    auto& context = static_cast<Context&>(ctx);
    const std::string prefix = "block." + std::to_string(block) + ".";
    const at::Tensor input = x.matmul(mine_.at(prefix + "key"));
    std::vector<at::Tensor> rows;
    for (size_t i = 0; i < context.batch.segments.size(); ++i) {
      const native::Segment& segment = context.batch.segments[i];
      const bool begins = context.batch.initial.empty() || !context.batch.initial[i].defined();
      at::Tensor state = begins ? at::zeros({kWidth}, x.options().requires_grad(false))
                                : context.batch.initial[i][block].to(x.scalar_type());
      for (int64_t t = segment.begin; t < segment.end; ++t) rows.push_back(state = state * 0.5 + input[t]);
      context.final[i][block].copy_(state.detach());
    }
    return x + at::stack(rows).tanh().matmul(mine_.at(prefix + "value"));
  }

 private:
  struct Context : native::TrainContext {
    at::Tensor FinalState(int64_t segment) const override {
      return batch.keep_final ? final[static_cast<size_t>(segment)] : at::Tensor();
    }
    native::Batch batch;
    std::vector<at::Tensor> final;
  };
  native::ModelInfo info_;
  native::NamedTensors mine_;
};

struct Rig {
  explicit Rig(std::shared_ptr<TinyModel> made = std::make_shared<TinyModel>()) : model(std::move(made)) {
    options.optim.schedule.learning_rate = 1e-2;
    options.micro_batch_tokens = 1000;
    options.dtype = at::kDouble;
  }
  std::unique_ptr<NextTokenTrainer> Make() {
    auto trainer = NextTokenTrainer::Create(
        {model, model->Initial(5, at::kDouble), options, &comm, TinyModel::kVocabulary, frozen, l2wrap, lr_scale});
    EXPECT_TRUE(trainer.ok()) << trainer.status();
    return *std::move(trainer);
  }
  std::shared_ptr<TinyModel> model;
  distributed::SingleComm comm;
  TrainerOptions options;
  std::set<std::string> frozen;
  double l2wrap = 0;
  std::map<std::string, double> lr_scale;
};

std::shared_ptr<const data::TokenSource> RandomText(const std::vector<int>& lengths) {
  base::RandomStream random(8, base::RandomUse::kGenerator);
  std::vector<std::vector<int32_t>> documents;
  for (int length : lengths) {
    documents.emplace_back();
    for (int i = 0; i < length; ++i)
      documents.back().push_back(static_cast<int32_t>(random.NextBelow(TinyModel::kVocabulary)));
  }
  return data::TokensInMemory(documents);
}

// Three lanes, the first of which crosses borders of documents.
data::TextBatch Batch(const data::TextShape& shape) {
  static const auto text = RandomText({9, 3, 80, 80});
  const data::TextWindow lanes[] = {{text.get(), 0}, {text.get(), 40}, {text.get(), 90}};
  return data::MakeTextBatch(lanes, shape);
}

data::StepResult MustStep(NextTokenTrainer& trainer, const data::TextBatch& batch) {
  auto result = trainer.Step(batch);
  EXPECT_TRUE(result.ok()) << result.status();
  return *std::move(result);
}

// Mean cross-entropy of the batch over the tokens that the loss counts, its gradients, and the share of those
// tokens that are the likeliest, by LibTorch, sequence by sequence and chunk by chunk.
struct Reference {
  double loss = 0, accuracy = 0;
  native::NamedTensors gradients;
};

Reference Compute(TinyModel& model, const data::TextBatch& batch) {
  native::NamedTensors leaves;
  for (const auto& [name, value] : model.Initial(5, at::kDouble))
    leaves[name] = value.clone().requires_grad_();
  model.Bind(leaves);
  std::vector<at::Tensor> states(static_cast<size_t>(batch.lanes));
  at::Tensor sum = at::zeros({}, at::kDouble);
  double tokens = 0, likeliest = 0;
  for (const data::TextChunk& chunk : batch.chunks) {
    for (size_t i = 0; i < chunk.sequences.size(); ++i) {
      const data::TrainSequence& sequence = chunk.sequences[i];
      const data::TextPiece& piece = chunk.pieces[i];
      const at::Tensor ids = at::tensor(sequence.tokens, at::kInt).to(at::kLong);
      const int64_t length = sequence.length() - 1;
      native::Batch one{ids.narrow(0, 0, length), at::arange(length, at::kLong), {{0, length, -1}}, {}, true};
      if (piece.continues) one.initial = {states[static_cast<size_t>(piece.lane)]};
      const auto context = model.Begin(one);
      at::Tensor x = model.Embed(one, *context);
      for (int64_t b = 0; b < model.blocks(); ++b) x = model.Block(b, x, *context);
      const at::Tensor logits = model.Logits(model.Final(x));
      const at::Tensor counted =
          at::tensor(std::vector<int64_t>(sequence.loss_mask.begin() + 1, sequence.loss_mask.end()), at::kLong);
      const at::Tensor labels = ids.narrow(0, 1, length).masked_fill(counted.eq(0), -100);
      sum = sum + at::cross_entropy_loss(logits, labels, {}, at::Reduction::Sum, -100);
      tokens += counted.sum().item<double>();
      likeliest += logits.argmax(1).eq(labels).sum().item<double>();
      if (piece.carries) states[static_cast<size_t>(piece.lane)] = context->FinalState(0);
    }
  }
  const at::Tensor mean = sum / tokens;
  torch::autograd::backward({mean});
  Reference reference;
  reference.loss = mean.item<double>();
  reference.accuracy = likeliest / tokens;
  for (const auto& [name, leaf] : leaves)
    reference.gradients[name] = leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
  return reference;
}

void ExpectGradients(const NextTokenTrainer& trainer, const Reference& reference, double tolerance) {
  for (const ParameterRange& range : trainer.store().ranges()) {
    const at::Tensor gradient = ParameterStore::View(trainer.store().gradients(), range);
    EXPECT_LT((gradient - reference.gradients.at(range.name)).abs().max().item<double>(), tolerance)
        << range.name;
  }
}

TEST(NextTokenTrainer, GradientsAreThoseOfTheMeanCrossEntropy) {
  for (const bool apart : {false, true}) {
    const data::TextBatch batch = Batch({12, 1, apart});
    Rig rig;
    const Reference reference = Compute(*rig.model, batch);
    for (const int64_t micro_batch : {1000, 13, 1}) {
      for (const bool checkpoint : {false, true}) {
        rig.options.micro_batch_tokens = micro_batch;
        rig.options.checkpoint_activations = checkpoint;
        auto trainer = rig.Make();
        const data::StepResult result = MustStep(*trainer, batch);
        EXPECT_NEAR(result.metrics.at("loss"), reference.loss, 1e-12);
        ExpectGradients(*trainer, reference, 1e-12);
      }
    }
  }
}

TEST(NextTokenTrainer, CountsTheTokensOfTheLossMaskOnly) {
  data::TextBatch batch = Batch({40, 1, true});
  for (data::TrainSequence& sequence : batch.chunks[0].sequences) {
    for (size_t i = 0; i < sequence.loss_mask.size(); ++i)
      if (sequence.tokens[i] % 2 == 0) sequence.loss_mask[i] = 0;
  }
  // A sequence without a loss is left out.
  std::ranges::fill(batch.chunks[0].sequences.back().loss_mask, uint8_t{0});
  Rig rig;
  const Reference reference = Compute(*rig.model, batch);
  auto trainer = rig.Make();
  const data::LossByPosition measured = *trainer->Evaluate(batch);
  EXPECT_NEAR(measured.Mean(), reference.loss, 1e-12);
  EXPECT_EQ(measured.Accuracy(), reference.accuracy);
  EXPECT_GT(measured.Accuracy(), 0);
  EXPECT_NEAR(MustStep(*trainer, batch).metrics.at("loss"), reference.loss, 1e-12);
  ExpectGradients(*trainer, reference, 1e-12);
}

TEST(NextTokenTrainer, CarriedStatesAreTruncatedBackpropagation) {
  for (const bool apart : {false, true}) {
    const data::TextBatch batch = Batch({6, 4, apart});
    Rig rig(std::make_shared<RecurrentModel>());
    const Reference reference = Compute(*rig.model, batch);
    for (const bool checkpoint : {false, true}) {
      rig.options.micro_batch_tokens = 8;
      rig.options.checkpoint_activations = checkpoint;
      auto trainer = rig.Make();
      EXPECT_NEAR(trainer->Evaluate(batch)->Mean(), reference.loss, 1e-12);
      EXPECT_NEAR(MustStep(*trainer, batch).metrics.at("loss"), reference.loss, 1e-12);
      ExpectGradients(*trainer, reference, 1e-12);
    }
  }
  // The loss is that of the whole text, which is not that of its contexts alone.
  Rig rig(std::make_shared<RecurrentModel>());
  auto trainer = rig.Make();
  const double carried = trainer->Evaluate(Batch({6, 4, false}))->Mean();
  EXPECT_NEAR(trainer->Evaluate(Batch({24, 1, false}))->Mean(), carried, 1e-6);
  data::TextBatch alone = Batch({6, 4, false});
  for (data::TextChunk& chunk : alone.chunks) {
    for (data::TextPiece& piece : chunk.pieces) piece.continues = false;
  }
  EXPECT_GT(std::abs(trainer->Evaluate(alone)->Mean() - carried), 1e-4);
}

TEST(NextTokenTrainer, RefusesCarryWithoutAState) {
  Rig rig;
  EXPECT_EQ(rig.Make()->Step(Batch({6, 2, false})).status().code(), StatusCode::kInvalidArgument);
}

TEST(NextTokenTrainer, FrozenTensorsStayAndHaveNoState) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const bool checkpoint : {false, true}) {
      Rig rig;
      rig.options.dtype = dtype;
      rig.options.checkpoint_activations = checkpoint;
      rig.frozen = *FrozenTensors(rig.model->parameters(), {"block.1.*"});
      auto trainer = rig.Make();
      EXPECT_EQ(trainer->store().ranges().size(), 4u);
      const native::NamedTensors before = trainer->store().Copy(at::kFloat);
      for (int i = 0; i < 3; ++i) MustStep(*trainer, Batch({12, 1, false}));
      const native::NamedTensors after = *policy::NamedTensorsOf(**trainer->Snapshot());
      ASSERT_EQ(after.size(), before.size());
      for (const auto& [name, value] : after)
        EXPECT_EQ(at::equal(value, before.at(name)), !name.starts_with("block.1.")) << name;
    }
  }
}

TEST(NextTokenTrainer, GradientsOfWhatTrainsDontDependOnWhatIsFrozen) {
  const data::TextBatch batch = Batch({12, 1, false});
  for (const char* pattern : {"embed", "block.0.*", "head"}) {
    for (const bool checkpoint : {false, true}) {
      Rig rig;
      const Reference reference = Compute(*rig.model, batch);
      rig.options.checkpoint_activations = checkpoint;
      rig.frozen = *FrozenTensors(rig.model->parameters(), {pattern});
      auto trainer = rig.Make();
      MustStep(*trainer, batch);
      ExpectGradients(*trainer, reference, 1e-12);
    }
  }
}

TEST(Trainable, PatternsMatchWholeNames) {
  const TinyModel model;
  EXPECT_TRUE(FrozenTensors(model.parameters(), {})->empty());
  EXPECT_EQ(FrozenTensors(model.parameters(), {"block.[1-9].*", "no?m", "head"})->size(), 5u);
  const Status status = FrozenTensors(model.parameters(), {"embed", "blok.*", "block"}).status();
  EXPECT_EQ(Message(status).substr(0, 72),
            "pretrain.trainable: no tensor of the model matches \"blok.*\", \"block\"; th");
}

TEST(Trainable, LearningRatesByPattern) {
  const TinyModel model;
  const auto scales = [&](const char* json, const std::set<std::string>& frozen = {}) {
    return LearningRateScales(model.parameters(), frozen, nlohmann::json::parse(json));
  };
  EXPECT_TRUE(scales("{}")->empty());
  const auto some = scales(R"({"block.*": 2, "block.1.*": 5.5, "head": 0})");
  ASSERT_TRUE(some.ok()) << some.status();
  for (const native::TensorSpec& spec : model.parameters()) {
    const bool second = spec.name.starts_with("block.1."), first = spec.name.starts_with("block.");
    const double expected = spec.name == "head" ? 0 : second ? 5.5 : first ? 2 : -1;
    EXPECT_EQ(some->contains(spec.name) ? some->at(spec.name) : -1, expected) << spec.name;
  }
  EXPECT_EQ(Message(scales(R"({"head": -1})").status()),
            "pretrain.lr_scale: \"head\" = -1; a factor is a number of at least 0");
  EXPECT_TRUE(Message(scales(R"({"heads": 1})").status())
                  .starts_with("pretrain.lr_scale: no tensor that trains matches \"heads\""));
  EXPECT_TRUE(Message(scales(R"({"head": 2})", {"head"}).status()).ends_with("their names: embed, block.0.query, block.0.key, "
                                                                             "block.0.value, block.0.mix, block.1.query, "
                                                                             "block.1.key, block.1.value, block.1.mix, norm"));
  EXPECT_EQ(scales(R"({"*": 2})", {"head"})->count("head"), 0u);
  EXPECT_EQ(Message(scales(R"({"hea?": 1, "h*ad": 2})").status()),
            "pretrain.lr_scale: \"h*ad\" and \"hea?\" both match head; make one of them longer");
  EXPECT_EQ(scales(R"({"h*d": 1, "he*": 2, "head": 3})")->at("head"), 3);
}

TEST(NextTokenTrainer, StepsAsWideAsTheRateOfEachTensor) {
  const data::TextBatch batch = Batch({12, 1, false});
  const auto moved = [&](const std::map<std::string, double>& lr_scale) {
    Rig rig;
    rig.model->AskForRate("norm", 2);
    rig.lr_scale = lr_scale;
    auto trainer = rig.Make();
    const at::Tensor before = trainer->store().masters().clone();
    MustStep(*trainer, batch);
    native::NamedTensors out;
    for (const ParameterRange& range : trainer->store().ranges())
      out[range.name] = ParameterStore::View(trainer->store().masters() - before, range);
    return out;
  };
  const native::NamedTensors plain = moved({}), scaled = moved({{"head", 5}, {"embed", 0}, {"norm", 1}});
  for (const auto& [name, step] : plain) {
    // The model asks for twice the rate at its norm: what is given counts in place of that.
    const double factor = name == "head" ? 5 : name == "embed" ? 0 : name == "norm" ? 0.5 : 1;
    EXPECT_LT((scaled.at(name) - factor * step).abs().max().item<double>(), 1e-12) << name;
  }
}

TEST(NextTokenTrainer, GoesOnFromItsFilesAsIfItHadNotStopped) {
  base::TemporaryFolder folder;
  Rig rig;
  rig.options.dtype = at::kFloat;
  rig.frozen = {"embed"};
  rig.options.optim.schedule = {1e-2, 2, Decay::kQuarterCosine, 8, 0.1, 0.2, 1, 0.001};
  auto whole = rig.Make();
  for (int i = 0; i < 3; ++i) MustStep(*whole, Batch({12, 1, false}));
  ASSERT_TRUE(whole->SaveState(folder.path()).ok());
  Rig other;
  other.options = rig.options;
  other.frozen = rig.frozen;
  auto resumed = other.Make();
  ASSERT_TRUE(resumed->LoadState(folder.path()).ok());
  EXPECT_EQ(resumed->version(), VersionId(3));
  for (int i = 0; i < 3; ++i) {
    const base::MetricRow row = MustStep(*whole, Batch({12, 1, false})).metrics;
    EXPECT_EQ(row, MustStep(*resumed, Batch({12, 1, false})).metrics);
  }
  EXPECT_TRUE(at::equal(whole->store().masters(), resumed->store().masters()));
  other.frozen = {};
  EXPECT_FALSE(other.Make()->LoadState(folder.path()).ok());
}

TEST(NextTokenTrainer, ALossThatIsNotFiniteSkipsTheStep) {
  Rig rig;
  auto trainer = rig.Make();
  const at::Tensor before = trainer->store().masters().clone();
  rig.model->poison = true;
  const data::StepResult result = MustStep(*trainer, Batch({12, 1, false}));
  EXPECT_EQ(result.outcome, data::StepOutcome::kSkippedNotFinite);
  EXPECT_EQ(trainer->version(), VersionId(1));
  EXPECT_TRUE(at::equal(before, trainer->store().masters()));
}

TEST(NextTokenTrainer, LossByPositionCountsFromTheStartOfTheText) {
  Rig rig(std::make_shared<RecurrentModel>());
  auto trainer = rig.Make();
  const data::LossByPosition losses = *trainer->Evaluate(Batch({6, 4, false}));
  EXPECT_EQ(losses.counts[0], 3);   // position 1 of three lanes
  EXPECT_EQ(losses.counts[3], 24);  // 8 to 15
  EXPECT_EQ(losses.counts[4], 27);  // 16 to 24
  EXPECT_EQ(losses.tokens(), 72);
}

}  // namespace
}  // namespace volery::training
