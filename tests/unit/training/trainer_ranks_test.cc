// Several ranks, each on a thread of its own over real Gloo connections.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "core/base/files.h"
#include "core/distributed/gloo_comm.h"
#include "core/distributed/single_comm.h"
#include "core/training/trainer.h"
#include "tiny_model.h"

namespace volery::training {
namespace {

uint16_t FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

TrainerSetup MakeSetup(const std::string& preset, distributed::Comm* comm) {
  auto model = std::make_shared<TinyModel>();
  TrainerOptions options;
  options.optim.schedule.learning_rate = 1e-3;
  options.supervised.schedule.learning_rate = 1e-3;
  options.micro_batch_tokens = 30;
  options.dtype = at::kDouble;
  return {model, model->Initial(5, at::kDouble), options, *PresetAlgorithm(preset),
          comm,  TinyModel::kVocabulary};
}

struct RunOutput {
  native::NamedTensors weights;
  std::vector<base::MetricRow> rows;
};

// Two supervised steps, then 20 RL steps. With `reverse`, groups come in another order: other ranks get other
// shares.
RunOutput RunLoop(LocalTrainer& trainer, bool reverse) {
  RunOutput output;
  base::RandomStream stream(2, base::RandomUse::kGenerator);
  std::vector<data::Rollout> examples;
  for (int i = 0; i < 5; ++i) examples.push_back(RandomRollout(stream, {1, static_cast<int32_t>(i)}, 4, 0));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(trainer.SupervisedStep(examples).ok());
  for (int64_t step = 0; step < 20; ++step) {
    data::TrainBatch batch = RandomBatch(31, step, 5, 3, trainer.version().value - (step > 3 ? step % 2 : 0));
    for (data::Group& group : batch.groups) EXPECT_TRUE(trainer.Advantages(group).ok());
    if (reverse) std::reverse(batch.groups.begin(), batch.groups.end());
    auto result = trainer.Step(batch);
    EXPECT_TRUE(result.ok()) << Message(result.status());
    output.rows.push_back(result->metrics);
  }
  output.weights = trainer.CopyWeights();
  return output;
}

RunOutput RunOneRank(const std::string& preset) {
  distributed::SingleComm comm;
  return RunLoop(**LocalTrainer::Create(MakeSetup(preset, &comm)), false);
}

// Returns rank 0's output and checks that the followers hold the same weights bit for bit.
RunOutput RunManyRanks(const std::string& preset, int world, bool reverse = false) {
  const uint16_t port = FreePort();
  RunOutput output;
  std::vector<native::NamedTensors> follower_weights(static_cast<size_t>(world));
  std::vector<std::unique_ptr<distributed::Comm>> comms(static_cast<size_t>(world));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back([&, rank] {
      distributed::RankSettings settings;
      settings.rank = rank;
      settings.world = world;
      settings.master_address = "127.0.0.1";
      settings.master_port = port;
      auto comm = distributed::ConnectGloo(settings, {20'000, 20'000});
      ASSERT_TRUE(comm.ok()) << Message(comm.status());
      comms[static_cast<size_t>(rank)] = *std::move(comm);
      auto trainer = LocalTrainer::Create(MakeSetup(preset, comms[static_cast<size_t>(rank)].get()));
      ASSERT_TRUE(trainer.ok()) << Message(trainer.status());
      if (rank == 0) {
        output = RunLoop(**trainer, reverse);
        EXPECT_TRUE((*trainer)->StopFollowers().ok());
      } else {
        EXPECT_FALSE((*trainer)->Step({}).ok());
        const Status status = (*trainer)->Follow(base::StopToken());
        EXPECT_TRUE(status.ok()) << Message(status);
        EXPECT_EQ((*trainer)->version(), VersionId(20));
        follower_weights[static_cast<size_t>(rank)] = (*trainer)->CopyWeights();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t rank = 1; rank < follower_weights.size(); ++rank) {
    for (const auto& [name, tensor] : output.weights)
      EXPECT_TRUE(at::equal(tensor, follower_weights[rank].at(name))) << name;
  }
  return output;
}

void ExpectSameRun(const RunOutput& a, const RunOutput& b, double tolerance) {
  for (const auto& [name, tensor] : a.weights) {
    EXPECT_LT((tensor - b.weights.at(name)).abs().max().item<double>(), tolerance) << name;
  }
  ASSERT_EQ(a.rows.size(), b.rows.size());
  for (size_t step = 0; step < a.rows.size(); ++step) {
    ASSERT_EQ(a.rows[step].size(), b.rows[step].size());
    for (const auto& [name, value] : a.rows[step])
      EXPECT_NEAR(value, b.rows[step].at(name), 1e-6) << name << " at step " << step;
  }
}

TEST(TrainerRanks, TwoRanksGiveTheWeightsOfOne) {
  ExpectSameRun(RunOneRank("grpo"), RunManyRanks("grpo", 2), 1e-6);
}

TEST(TrainerRanks, ProximalKlAndSeveralOptimiserStepsToo) {
  ExpectSameRun(RunOneRank("intellect2-paper"), RunManyRanks("intellect2-paper", 2), 1e-6);
}

TEST(TrainerRanks, WhichRankGetsWhatDoesNotMatter) {
  ExpectSameRun(RunManyRanks("grpo", 3), RunManyRanks("grpo", 3, true), 1e-6);
}

TEST(TrainerRanks, LoadReachesEveryRank) {
  base::TemporaryFolder folder;
  const uint16_t port = FreePort();
  std::vector<native::NamedTensors> weights(2);
  std::vector<std::unique_ptr<distributed::Comm>> comms(2);
  std::vector<std::thread> threads;
  {
    distributed::SingleComm comm;
    auto trainer = *LocalTrainer::Create(MakeSetup("grpo", &comm));
    RunLoop(*trainer, false);
    ASSERT_TRUE(trainer->SaveState(folder.path()).ok());
  }
  for (size_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      distributed::RankSettings settings;
      settings.rank = static_cast<int>(rank);
      settings.world = 2;
      settings.master_address = "127.0.0.1";
      settings.master_port = port;
      comms[rank] = *distributed::ConnectGloo(settings, {20'000, 20'000});
      auto trainer = *LocalTrainer::Create(MakeSetup("grpo", comms[rank].get()));
      if (rank == 0) {
        EXPECT_TRUE(trainer->LoadState(folder.path()).ok());
        EXPECT_TRUE(trainer->StopFollowers().ok());
      } else {
        EXPECT_TRUE(trainer->Follow(base::StopToken()).ok());
      }
      EXPECT_EQ(trainer->version(), VersionId(20));
      weights[rank] = trainer->CopyWeights();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& [name, tensor] : weights[0]) EXPECT_TRUE(at::equal(tensor, weights[1].at(name))) << name;
}

}  // namespace
}  // namespace volery::training
