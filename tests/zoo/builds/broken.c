// SPDX-License-Identifier: Apache-2.0
int main(void)
{
	return this_was_never_declared;
}
