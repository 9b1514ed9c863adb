// SPDX-License-Identifier: Apache-2.0
import java.util.ArrayList;
import java.util.List;

/** An account whose balance is the sum of its entries. */
public final class Account {
    public record Entry(long cents, String text) {}

    private final List<Entry> entries = new ArrayList<>();
    private final long overdraft;

    public Account(long overdraft) {
        this.overdraft = overdraft;
    }

    public long balance() {
        return entries.stream().mapToLong(Entry::cents).sum();
    }

    public boolean withdraw(long cents, String text) {
        if (cents <= 0) {
            throw new IllegalArgumentException("withdraw a positive amount");
        }
        if (balance() - cents < -overdraft) {
            return false;
        }
        entries.add(new Entry(-cents, text));
        return true;
    }
}
