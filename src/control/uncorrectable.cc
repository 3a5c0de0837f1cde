// SPDX-License-Identifier: Apache-2.0
#include "control/uncorrectable.h"

#include <utility>
#include <vector>

#include "control/references.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

Result<nvme::UncorrectableBlocks> read_uncorrectable(const state::Record& known) {
    std::vector<nvme::BlockRange> ranges;
    for (const state::BlockRange& one : known.uncorrectable()) {
        ranges.push_back({one.lba(), one.blocks()});
    }
    auto marks = nvme::UncorrectableBlocks::from(std::move(ranges));
    if (!marks) {
        return fail(ErrorKind::DataLoss, "the uncorrectable blocks in the store are damaged");
    }
    return std::move(*marks);
}

reactor::Task<Result<void>> Uncorrectable::keep(std::string nqn,
                                                std::uint32_t nsid,
                                                nvme::UncorrectableBlocks marks) {
    const auto found = find_namespace(context_.model, nqn, nsid);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Object<opi::NvmeNamespace> changed = **found;
    changed.known.clear_uncorrectable();
    for (const nvme::BlockRange& range : marks.ranges()) {
        state::BlockRange& added = *changed.known.add_uncorrectable();
        added.set_lba(range.lba);
        added.set_blocks(range.blocks);
    }
    Transaction transaction(context_.model);
    transaction.put(std::move(changed));
    co_return transaction.commit();
}

}  // namespace remora::control
