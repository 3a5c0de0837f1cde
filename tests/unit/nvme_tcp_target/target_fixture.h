// SPDX-License-Identifier: Apache-2.0
// TargetFixture: a target with one subsystem, one listener and one namespace, on the test's
// reactor.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "block/reactor_context.h"
#include "frontends/nvme_tcp/target.h"
#include "memory/buffer_pool.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"
#include "tests/unit/nvme_tcp_target/memory_device.h"
#include "tests/unit/nvme_tcp_target/raw_host.h"

namespace remora::test {

using frontends::nvme_tcp::NamespaceOptions;
using frontends::nvme_tcp::Referral;
using frontends::nvme_tcp::SubsystemOptions;
using frontends::nvme_tcp::Target;
using frontends::nvme_tcp::TargetLimits;
using frontends::nvme_tcp::TargetStats;
using spec::IoOpcode;
using spec::StatusCode;

inline const std::string kSubsystem = "nqn.2026-01.test:sub";
inline const std::string kHost = "nqn.2026-01.test:host";

class TargetFixture : public ReactorFixture {
  public:
    explicit TargetFixture(std::size_t pool_bytes = std::size_t{8} << 20U)
        : pool_(std::move(*memory::BufferPool::create(pool_bytes))) {
        limits_.linger = std::chrono::milliseconds(200);
    }

    /// Makes target, subsystem, listener and namespace 1.
    Task<> start() {
        const block::ReactorContext context{reactor(), *pool_};
        target_ =
            std::make_unique<Target>(std::span(&context, 1), reactor(), limits_, discovery_nqn_);
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
        CHECK(nsid.has_value() && *nsid == 1);
    }

    /// Stops the target; everything must have come back.
    Task<> stop() {
        co_await target_->stop();
        target_.reset();
        EXPECT_EQ(pool_->in_use(), 0U);
        EXPECT_EQ(device_.open_channels, 0);
    }

    /// A host whose admin queue is connected and enabled.
    Task<std::unique_ptr<RawHost>> admin_queue(ConnectOptions options = {}) {
        auto host = co_await RawHost::open(endpoint_);
        const bool greeted = co_await host->handshake();
        CHECK(greeted);
        const Outcome connected = co_await host->connect(options);
        CHECK(connected.status == 0);
        const bool ready = co_await host->enable();
        CHECK(ready);
        co_return host;
    }

    Task<std::unique_ptr<RawHost>> io_queue(std::uint16_t cntlid,
                                            std::uint16_t qid = 1,
                                            std::uint8_t dgst = 0,
                                            ConnectOptions options = {}) {
        auto host = co_await RawHost::open(endpoint_);
        const bool greeted = co_await host->handshake(dgst);
        CHECK(greeted);
        options.qid = qid;
        options.cntlid = cntlid;
        const Outcome connected = co_await host->connect(options);
        CHECK(connected.status == 0);
        co_return host;
    }

    std::unique_ptr<memory::BufferPool> pool_;
    TargetLimits limits_;
    std::string discovery_nqn_;
    MemoryDevice device_{"disk"};
    std::unique_ptr<Target> target_;
    reactor::Endpoint endpoint_;
};

}  // namespace remora::test
