#include "core/distributed/ranks.h"

#include <gtest/gtest.h>

#include <map>

namespace volery::distributed {
namespace {

StatusOr<RankSettings> Read(std::map<std::string, std::string> variables) {
  return RanksFromEnvironment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Ranks, NothingSetIsOneRank) {
  const auto ranks = Read({});
  ASSERT_TRUE(ranks.ok());
  EXPECT_EQ(ranks->world, 1);
  EXPECT_TRUE(ranks->master_address.empty());
}

TEST(Ranks, ReadsTorchrun) {
  const auto ranks = Read({{"RANK", "3"},
                           {"WORLD_SIZE", "4"},
                           {"LOCAL_RANK", "1"},
                           {"MASTER_ADDR", "10.0.0.7"},
                           {"MASTER_PORT", "29501"},
                           {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                           {"TORCHELASTIC_RESTART_COUNT", "2"}});
  ASSERT_TRUE(ranks.ok());
  EXPECT_EQ(ranks->rank, 3);
  EXPECT_EQ(ranks->world, 4);
  EXPECT_EQ(ranks->local_rank, 1);
  EXPECT_EQ(ranks->master_address, "10.0.0.7");
  EXPECT_EQ(ranks->master_port, 29501);
  EXPECT_TRUE(ranks->store_is_running);
  EXPECT_EQ(ranks->prefix, "2");
}

TEST(Ranks, ReadsSlurm) {
  const auto ranks = Read({{"SLURM_PROCID", "1"},
                           {"SLURM_NTASKS", "2"},
                           {"SLURM_JOB_NODELIST", "gpu[07-09],x1"},
                           {"SLURM_JOB_ID", "1234567"}});
  ASSERT_TRUE(ranks.ok());
  EXPECT_EQ(ranks->rank, 1);
  EXPECT_EQ(ranks->master_address, "gpu07");
  EXPECT_EQ(ranks->master_port, 15000 + 1234567 % 30000);
  EXPECT_FALSE(ranks->store_is_running);
}

TEST(Ranks, ErrorsNameTheVariableAndItsValue) {
  EXPECT_NE(Message(Read({{"RANK", "2"}, {"WORLD_SIZE", "2"}}).status())
                .find("RANK='2'; expected a whole number from 0 to 1"),
            std::string::npos);
  EXPECT_NE(Message(Read({{"RANK", "0"}}).status()).find("WORLD_SIZE is missing"), std::string::npos);
  EXPECT_NE(Message(Read({{"RANK", "0x"}, {"WORLD_SIZE", "2"}}).status()).find("'0x'"), std::string::npos);
  EXPECT_NE(Message(Read({{"RANK", "0"}, {"WORLD_SIZE", "2"}}).status()).find("MASTER_ADDR"),
            std::string::npos);
  EXPECT_FALSE(
      Read({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "70000"}}).ok());
}

TEST(Ranks, FindsTheFirstSlurmHost) {
  EXPECT_EQ(*FirstSlurmHost("a12"), "a12");
  EXPECT_EQ(*FirstSlurmHost("a12,b1"), "a12");
  EXPECT_EQ(*FirstSlurmHost("a[03-07,9],b1"), "a03");
  EXPECT_EQ(*FirstSlurmHost("rack[1,4]-n,b"), "rack1-n");
  EXPECT_FALSE(FirstSlurmHost("").ok());
  EXPECT_FALSE(FirstSlurmHost("a[").ok());
  EXPECT_FALSE(FirstSlurmHost("a[3-4").ok());
}

}  // namespace
}  // namespace volery::distributed
