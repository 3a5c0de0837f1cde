// SPDX-License-Identifier: Apache-2.0
#include "bench/stages/chains.h"

#include <chrono>

namespace remora::bench {

void Chain::put_fault_stage() {
    constexpr services::fault::OperationSet kAll{
        .read = true, .write = true, .flush = true, .unmap = true};
    const std::uint64_t behind_the_end = base_.geometry().block_count;
    services::fault::FaultSettings settings;
    settings.errors.push_back({.on = kAll, .first_lba = behind_the_end});
    settings.delays.push_back(
        {.on = kAll, .first_lba = behind_the_end, .mean = std::chrono::milliseconds(1)});
    stages_.push_back(std::make_unique<services::fault::FaultStage>(settings));
    put<block::Junction>(std::vector<block::Stage*>{stages_.back().get()});
}

std::vector<std::unique_ptr<Chain>> all_chains(block::Device& base) {
    std::vector<std::unique_ptr<Chain>> chains;
    const auto add = [&](const char* name) -> Chain& {
        return *chains.emplace_back(std::make_unique<Chain>(name, base));
    };
    add("RAM");
    add("counted").put<block::CountedDevice>();
    add("QoS, no limits").put<services::qos::QosDevice>();
    add("junction").put<block::Junction>();
    add("junction, fault stage without a hit").put_fault_stage();
    Chain& volume = add("as a volume: counted, QoS, junction");
    volume.put<block::Junction>();
    volume.put<services::qos::QosDevice>();
    volume.put<block::CountedDevice>();
    Chain& all = add("as a volume, with the fault stage");
    all.put_fault_stage();
    all.put<services::qos::QosDevice>();
    all.put<block::CountedDevice>();
    return chains;
}

}  // namespace remora::bench
