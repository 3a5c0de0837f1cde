// SPDX-License-Identifier: Apache-2.0
#include "block/junction.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "reactor/call.h"
#include "reactor/gate.h"

namespace remora::block {

class JunctionChannel final : public Channel, public core::ListHook<JunctionChannel> {
  public:
    JunctionChannel(Junction::PerReactor& here,
                    std::unique_ptr<Channel> base,
                    std::uint32_t block_size)
        : here_(here), base_(std::move(base)), block_size_(block_size), first_(base_.get()) {
        here_.channels.push_back(*this);
    }
    JunctionChannel(const JunctionChannel&) = delete;
    JunctionChannel& operator=(const JunctionChannel&) = delete;
    ~JunctionChannel() override { unlink(); }

    void submit(RequestBatch& batch) override { first_->submit(batch); }

    core::Result<void> insert(Stage& stage) {
        auto channel = stage.open_channel(*first_, block_size_);
        if (!channel) {
            return std::unexpected(channel.error());
        }
        first_ = channel->get();
        inserted_.insert(inserted_.begin(), Inserted{&stage, std::move(*channel)});
        return {};
    }

    void take_out(const Stage& stage) {
        const auto at = std::ranges::find(inserted_, &stage, &Inserted::stage);
        if (at == inserted_.end()) {
            return;
        }
        go_past(*at->channel);
        here_.retired.push_back({&stage, std::move(at->channel)});
        inserted_.erase(at);
    }

  private:
    struct Inserted {
        const Stage* stage;
        std::unique_ptr<StageChannel> channel;
    };

    /// Who submits to `gone` submits to what is below it.
    void go_past(const StageChannel& gone) {
        if (first_ == &gone) {
            first_ = &gone.lower();
        }
        for (const Inserted& inserted : inserted_) {
            if (&inserted.channel->lower() == &gone) {
                inserted.channel->set_lower(gone.lower());
            }
        }
    }

    Junction::PerReactor& here_;
    std::unique_ptr<Channel> base_;
    std::uint32_t block_size_;
    Channel* first_;
    std::vector<Inserted> inserted_;  // in the order that requests come to them
};

Junction::Junction(Device& lower, const std::vector<Stage*>& stages)
    : Device(lower.name(), lower.uuid()), lower_(lower) {
    for (PerReactor& reactor : reactors_) {
        reactor.stages = stages;
    }
}

Junction::~Junction() {
    CHECK(!changing_);
}

Junction::PerReactor& Junction::here() {
    const std::uint32_t id = reactor::Reactor::current().id();
    CHECK(id < kMaxReactors);
    return reactors_[id];
}

core::Result<std::unique_ptr<Channel>> Junction::open_channel() {
    auto base = lower_.open_channel();
    if (!base) {
        return base;
    }
    auto channel =
        std::make_unique<JunctionChannel>(here(), std::move(*base), lower_.geometry().block_size);
    for (Stage* stage : here().stages | std::views::reverse) {
        if (auto inserted = channel->insert(*stage); !inserted) {
            return std::unexpected(inserted.error());
        }
    }
    return channel;
}

core::Result<void> Junction::insert_here(Stage& stage) {
    CHECK(std::ranges::find(here().stages, &stage) == here().stages.end());
    here().stages.insert(here().stages.begin(), &stage);
    core::Result<void> inserted;
    here().channels.for_each([&](JunctionChannel& channel) {
        if (inserted) {
            inserted = channel.insert(stage);
        }
    });
    return inserted;
}

void Junction::take_out_here(const Stage& stage) {
    std::erase(here().stages, &stage);
    here().channels.for_each([&stage](JunctionChannel& channel) { channel.take_out(stage); });
}

reactor::Task<> Junction::drain_here(const Stage& stage) {
    std::vector<StageChannel*> channels;
    for (const Retired& retired : here().retired) {
        if (retired.stage == &stage) {
            channels.push_back(retired.channel.get());
        }
    }
    reactor::Gate draining;
    for (StageChannel* channel : channels) {  // all at once: none lets go later than another
        draining.spawn(
            [](std::vector<Retired>* retired, StageChannel* drained) -> reactor::Task<> {
                co_await drained->drain();
                std::erase_if(*retired, [drained](const Retired& one) {
                    return one.channel.get() == drained;
                });
            },
            &here().retired, channel);
    }
    co_await draining.close();
}

// Out of the way everywhere before anything is waited for.
reactor::Task<> Junction::take_out(const Stage& stage, std::span<const ReactorContext> reactors) {
    for (const ReactorContext& context : reactors) {
        co_await reactor::call_on(context.reactor, [&] { take_out_here(stage); });
    }
    for (const ReactorContext& context : reactors) {
        co_await reactor::call_on(context.reactor, [&] { return drain_here(stage); });
    }
}

reactor::Task<core::Result<void>> Junction::insert(Stage& stage,
                                                   std::span<const ReactorContext> reactors) {
    CHECK(!changing_);
    changing_ = true;
    core::Result<void> inserted;
    for (const ReactorContext& context : reactors) {
        inserted = co_await reactor::call_on(context.reactor, [&] { return insert_here(stage); });
        if (!inserted) {
            break;
        }
    }
    if (!inserted) {
        co_await take_out(stage, reactors);
    }
    changing_ = false;
    co_return inserted;
}

reactor::Task<> Junction::remove(Stage& stage, std::span<const ReactorContext> reactors) {
    CHECK(!changing_);
    changing_ = true;
    co_await take_out(stage, reactors);
    changing_ = false;
}

}  // namespace remora::block
