// SPDX-License-Identifier: Apache-2.0
// TargetThreads: a target over two data reactors with threads of their own, driven from a third,
// the control reactor. Also run under ThreadSanitizer.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "reactor/linux/reactor_thread.h"
#include "tests/unit/nvme_tcp_target/target_fixture.h"

namespace remora::test {

class TargetThreads : public ReactorFixture {
  public:
    TargetThreads() {
        for (std::uint32_t i = 0; i < 2; ++i) {
            reactor::ReactorThreadOptions options;
            options.id = i + 1;
            options.policy.spin = core::Nanos(0);
            threads_.push_back(std::move(*reactor::ReactorThread::start(options)));
            pools_.push_back(std::move(*memory::BufferPool::create(std::size_t{8} << 20U)));
        }
    }

    /// A subsystem with one listener and one namespace, and who keeps its reservations, if any.
    Task<> start(nvme::ReservationKeeper* keeper = nullptr) {
        const std::array contexts{block::ReactorContext{threads_[0]->reactor(), *pools_[0]},
                                  block::ReactorContext{threads_[1]->reactor(), *pools_[1]}};
        target_ = std::make_unique<Target>(contexts, reactor());
        if (keeper != nullptr) {
            target_->set_reservation_keeper(keeper);
        }
        SubsystemOptions subsystem;
        subsystem.nqn = kSubsystem;
        const auto made = co_await target_->create_subsystem(subsystem);
        CHECK(made.has_value());
        const auto at =
            co_await target_->add_listener(kSubsystem, reactor::Endpoint::tcp("127.0.0.1", 0));
        CHECK(at.has_value());
        endpoint_ = *at;
        NamespaceOptions options;
        options.device = &device_;
        const auto nsid = co_await target_->add_namespace(kSubsystem, options);
        CHECK(nsid.has_value());
        EXPECT_EQ(device_.open_channels, 2);
    }

    Task<> stop() {
        co_await target_->stop();
        target_.reset();
        EXPECT_EQ(device_.open_channels, 0);
    }

    Task<std::unique_ptr<RawHost>> queue(std::uint16_t qid,
                                         std::uint16_t cntlid,
                                         ConnectOptions options = {}) {
        auto host = co_await RawHost::open(endpoint_);
        const bool greeted = co_await host->handshake();
        CHECK(greeted);
        options.qid = qid;
        options.cntlid = cntlid;
        const Outcome connected = co_await host->connect(options);
        CHECK(connected.status == 0);
        if (qid == 0) {
            const bool ready = co_await host->enable();
            CHECK(ready);
        }
        co_return host;
    }

    std::vector<std::unique_ptr<memory::BufferPool>> pools_;
    MemoryDevice device_{"disk"};
    std::vector<std::unique_ptr<reactor::ReactorThread>> threads_;
    std::unique_ptr<Target> target_;
    reactor::Endpoint endpoint_;
};

}  // namespace remora::test
