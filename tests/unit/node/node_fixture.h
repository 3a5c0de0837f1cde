// SPDX-License-Identifier: Apache-2.0
// LocalNodeTest: two nodes on real threads, one the storage target, the other its host.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "node/local_node.h"
#include "node/runtime.h"

namespace remora::node {

using namespace std::chrono_literals;
using core::ErrorKind;

inline const std::string kNqn = "nqn.2026-11.example.remora:node-test";

/// A node with its runtime; calls are run on its control reactor and waited for.
class Rig {
  public:
    explicit Rig(const std::string& name, std::vector<FrozenFunction> frozen = {}) {
        RuntimeOptions options;
        options.buffer_bytes = 4 * core::kMiB;
        options.seed = 7;
        runtime_ = std::move(*Runtime::start(options));
        LocalNodeOptions node_options;
        node_options.identity.hostnqn = "nqn.2026-11.example.remora:" + name;
        node_options.path_timeout = 5s;
        node_options.frozen = std::move(frozen);
        run([&]() -> Task<> {
            node_ =
                std::make_unique<LocalNode>(runtime_->data(), runtime_->control(), node_options);
            co_return;
        });
    }
    Rig(const Rig&) = delete;
    Rig& operator=(const Rig&) = delete;
    ~Rig() {
        if (node_ != nullptr) {
            stop();
        }
    }
    void stop() {
        run([&]() -> Task<> {
            const bool stopped = co_await node_->stop(5s);
            EXPECT_TRUE(stopped);
            node_.reset();
        });
    }

    template <typename F>
    void run(F body) {
        std::promise<void> done;
        auto future = done.get_future();
        runtime_->control().post_function([&] { start(body, done); });
        CHECK(future.wait_for(60s) == std::future_status::ready);
    }
    LocalNode& node() { return *node_; }

  private:
    template <typename F>
    static reactor::detail::Detached start(F& body, std::promise<void>& done) {
        co_await body();
        done.set_value();
    }
    std::unique_ptr<Runtime> runtime_;
    std::unique_ptr<LocalNode> node_;
};

inline SubsystemSpec subsystem() {
    SubsystemSpec spec;
    spec.nqn = kNqn;
    return spec;
}

inline NamespaceSpec space_on(const std::string& volume) {
    NamespaceSpec spec;
    spec.nqn = kNqn;
    spec.volume = volume;
    return spec;
}

inline RemoteSpec remote_at(const Endpoint& endpoint) {
    RemoteSpec spec;
    spec.name = "remote";
    spec.paths.push_back({"path", endpoint, {}});
    spec.subnqn = kNqn;
    return spec;
}

inline VhostBlkSpec disk_on(const std::string& volume,
                            const std::string& name,
                            const std::string& path) {
    VhostBlkSpec spec;
    spec.name = name;
    spec.volume = volume;
    spec.socket_path = path;
    return spec;
}

inline constexpr services::fault::OperationSet kReadsAndWrites{.read = true, .write = true};

inline FaultSettings delays_of(core::Nanos mean) {
    FaultSettings settings;
    settings.delays.push_back({.on = kReadsAndWrites, .mean = mean});
    return settings;
}

class LocalNodeTest : public testing::Test {
  protected:
    /// A subsystem with one RAM volume of `mib` MiB at namespace 1, and a listener.
    void serve(std::uint64_t mib) {
        target_.run([&, mib]() -> Task<> {
            co_await add_volume("first", mib);
            const auto made = co_await target_.node().create_subsystem(subsystem());
            EXPECT_TRUE(made);
            const auto nsid = co_await target_.node().add_namespace(space_on("first"));
            EXPECT_EQ(nsid.value_or(0), 1U);
            const auto at = co_await target_.node().add_listener(
                kNqn, Endpoint::tcp("127.0.0.1", 0), AnaState::Optimized);
            EXPECT_TRUE(at);
            endpoint_ = *at;
        });
    }
    Task<> add_volume(std::string name, std::uint64_t mib) {
        core::Prng prng(mib);
        RamSpec spec;
        spec.name = name;
        spec.uuid = core::Uuid::random(prng);
        spec.block_count = mib * 2048;
        const auto made = co_await target_.node().create_ram(
            {.name = name, .uuid = core::Uuid::random(prng), .block_count = mib * 2048});
        EXPECT_TRUE(made);
    }
    void connect() {
        host_.run([&]() -> Task<> {
            const auto made = co_await host_.node().create_remote(remote_at(endpoint_));
            EXPECT_TRUE(made);
            const auto live = co_await host_.node().wait_remote("remote", 10s);
            EXPECT_TRUE(live) << live.error().message;
        });
    }

    Rig target_{"target"};
    Rig host_{"host"};
    Endpoint endpoint_;
};

}  // namespace remora::node
