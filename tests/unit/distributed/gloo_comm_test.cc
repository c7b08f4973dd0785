#include "core/distributed/gloo_comm.h"

#include <ATen/ATen.h>
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "core/distributed/single_comm.h"

namespace volery::distributed {
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

RankSettings Settings(int rank, int world, uint16_t port) {
  RankSettings settings;
  settings.rank = rank;
  settings.world = world;
  settings.master_address = "127.0.0.1";
  settings.master_port = port;
  return settings;
}

// Each rank on a thread of its own; all comms live until all are done.
void RunRanks(int world, const std::function<void(Comm&)>& body, CommOptions options = {20'000, 20'000}) {
  const uint16_t port = FreePort();
  std::vector<std::unique_ptr<Comm>> comms(static_cast<size_t>(world));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back([&, rank] {
      auto comm = ConnectGloo(Settings(rank, world, port), options);
      ASSERT_TRUE(comm.ok()) << Message(comm.status());
      comms[static_cast<size_t>(rank)] = *std::move(comm);
      body(*comms[static_cast<size_t>(rank)]);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(GlooComm, CollectivesOfThreeRanks) {
  RunRanks(3, [](Comm& comm) {
    for (auto dtype : {at::kFloat, at::kDouble, at::kBFloat16, at::kLong}) {
      at::Tensor tensor = at::full({1000}, comm.rank() + 1, dtype);
      ASSERT_TRUE(comm.AllReduceSum(tensor, "test").ok());
      EXPECT_EQ(tensor[999].item<double>(), 6);
      tensor.fill_(comm.rank());
      ASSERT_TRUE(comm.Broadcast(tensor, 2, "test").ok());
      EXPECT_EQ(tensor[0].item<double>(), 2);
    }
    EXPECT_EQ(*comm.BroadcastBytes(comm.rank() == 1 ? std::string("a\0b", 3) : "ignored", 1, "bytes"),
              std::string("a\0b", 3));
    EXPECT_EQ(*comm.BroadcastBytes("", 0, "nothing"), "");
    const auto gathered = comm.AllGatherBytes(Cat("rank ", comm.rank()), "names");
    ASSERT_TRUE(gathered.ok());
    EXPECT_EQ(*gathered, (std::vector<std::string>{"rank 0", "rank 1", "rank 2"}));
    EXPECT_TRUE(comm.Barrier("end").ok());
  });
}

TEST(GlooComm, AnnouncementsArriveInOrderAndStopEndsTheWait) {
  RunRanks(2, [](Comm& comm) {
    base::StopToken stop;
    if (comm.rank() == 0) {
      EXPECT_TRUE(comm.Announce("first").ok());
      EXPECT_TRUE(comm.Announce("second").ok());
    } else {
      EXPECT_EQ(*comm.AwaitAnnouncement(stop), "first");
      EXPECT_EQ(*comm.AwaitAnnouncement(stop), "second");
      stop.RequestStop(CancelledError("enough"));
      EXPECT_EQ(Message(comm.AwaitAnnouncement(stop).status()), "enough");
    }
    EXPECT_TRUE(comm.Barrier("end").ok());
  });
}

TEST(GlooComm, ARankThatDoesNotComeIsNamedWithTheOperation) {
  RunRanks(3,
           [](Comm& comm) {
             if (comm.rank() == 2) {
               std::this_thread::sleep_for(std::chrono::milliseconds(1500));
               return;
             }
             at::Tensor tensor = at::ones({8});
             const Status status = comm.AllReduceSum(tensor, "gradients");
             ASSERT_FALSE(status.ok());
             EXPECT_NE(Message(status).find("all-reduce of gradients"), std::string::npos) << Message(status);
             EXPECT_NE(Message(status).find("not arrived: ranks 2"), std::string::npos) << Message(status);
           },
           {20'000, 400});
}

TEST(GlooComm, LastWordsAreReadBeforeRankZeroGoes) {
  const uint16_t port = FreePort();
  std::thread zero([&] {
    auto comm = ConnectGloo(Settings(0, 2, port), {20'000, 20'000});
    ASSERT_TRUE(comm.ok());
    ASSERT_TRUE((*comm)->Announce("goodbye").ok());
    EXPECT_TRUE((*comm)->AwaitReaders(10'000).ok());
    ASSERT_TRUE((*comm)->Announce("nobody reads this").ok());
    EXPECT_EQ((*comm)->AwaitReaders(50).code(), StatusCode::kDeadlineExceeded);
  });
  auto comm = ConnectGloo(Settings(1, 2, port), {20'000, 20'000});
  ASSERT_TRUE(comm.ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(*(*comm)->AwaitAnnouncement(base::StopToken()), "goodbye");
  zero.join();
  const Status lost = (*comm)->AwaitAnnouncement(base::StopToken()).status();
  EXPECT_NE(Message(lost).find("rank 1 lost rank 0"), std::string::npos) << Message(lost);
}

TEST(GlooComm, ARankThatNeverStartsIsNamed) {
  const auto comm = ConnectGloo(Settings(0, 3, FreePort()), {300, 300});
  ASSERT_FALSE(comm.ok());
  EXPECT_EQ(comm.status().code(), StatusCode::kDeadlineExceeded);
  EXPECT_NE(Message(comm.status()).find("ranks 1, 2 of 3 didn't arrive"), std::string::npos)
      << Message(comm.status());
}

TEST(GlooComm, OneRankNeedsNoNetwork) {
  const auto comm = Connect(RankSettings(), {});
  ASSERT_TRUE(comm.ok());
  EXPECT_EQ((*comm)->world(), 1);
  at::Tensor tensor = at::ones({2});
  EXPECT_TRUE((*comm)->AllReduceSum(tensor, "x").ok());
  EXPECT_EQ(*(*comm)->BroadcastBytes("same", 0, "x"), "same");
  EXPECT_EQ((*comm)->AllGatherBytes("same", "x")->size(), 1u);
  EXPECT_FALSE((*comm)->AwaitAnnouncement(base::StopToken()).ok());
  EXPECT_TRUE((*comm)->AwaitReaders(0).ok());
}

}  // namespace
}  // namespace volery::distributed
