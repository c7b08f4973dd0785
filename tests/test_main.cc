// The main function of every test binary. A test binary is also a reward host when it is started as
// `<binary> reward-host ...` (see core/plugin), as the product's binary is.
#include <gtest/gtest.h>

#include <cstring>

namespace volery::plugin {
__attribute__((weak)) int RewardHostMain(int argc, char** argv);  // absent in binaries without core/plugin
}

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "reward-host") == 0 && volery::plugin::RewardHostMain != nullptr) {
    return volery::plugin::RewardHostMain(argc, argv);
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
