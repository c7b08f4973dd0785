#pragma once
// Which rank this process is and where the ranks meet, from the environment that torchrun or Slurm's srun
// sets.

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/status.h"

namespace volery::distributed {

struct RankSettings {
  int rank = 0;
  int world = 1;
  int local_rank = 0;          // among the ranks of this machine (for a GPU's index)
  std::string master_address;  // empty when world is 1
  uint16_t master_port = 0;
  bool store_is_running = false;  // the launcher already serves the meeting point; no rank has to
  std::string prefix;             // keeps the keys of a restarted run apart
};

using GetEnvironment = std::function<const char*(const char* name)>;

// RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT (torchrun), else SLURM_PROCID and SLURM_NTASKS with
// MASTER_ADDR/MASTER_PORT or, without those, the first host of SLURM_JOB_NODELIST and a port derived from
// SLURM_JOB_ID. Neither: one rank. Errors name the variable, its value and what is expected. A lone srun
// inside a shell of one task is one rank.
StatusOr<RankSettings> RanksFromEnvironment(const GetEnvironment& get);
StatusOr<RankSettings> RanksFromEnvironment();

// First host of a Slurm list: "a12", "a[03-07,9],b1" -> "a03". Error: not such a list.
StatusOr<std::string> FirstSlurmHost(const std::string& node_list);

}  // namespace volery::distributed
