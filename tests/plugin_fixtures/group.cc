// Wants whole groups: scores each sample by the number of its siblings with the same completion.
#include "volery/reward.h"

class Agreement : public volery::Reward {
 public:
  static constexpr bool kWantsGroup = true;
  void ScoreBatch(const volery::Batch& group) const override {
    for (size_t i = 0; i < group.size(); ++i) {
      if (!group.whole_group()) return group.SetFailure(i, VOLERY_REWARD_ERROR, "not a whole group");
      if (group[i].completion == "forget me") continue;
      double same = 0;
      for (size_t k = 0; k < group.size(); ++k) same += group[k].completion == group[i].completion;
      group.SetScore(i, same);
    }
  }
};

VOLERY_REWARD_PLUGIN("fixture.group/1", Agreement)
